# The tables of docs/methods.md and docs/tensors.md are what the program says of methods and tensors.
function(holds_output FILE LEAST)  # holds_output(FILE LEAST_CHARACTERS ARGUMENTS..)
  execute_process(COMMAND ${ASSAY} ${ARGN} OUTPUT_VARIABLE TABLE COMMAND_ERROR_IS_FATAL ANY)
  list(JOIN ARGN " " COMMAND)
  file(READ ${SOURCE}/${FILE} TEXT)
  string(LENGTH "${TABLE}" LENGTH)
  if(LENGTH LESS LEAST)
    message(FATAL_ERROR "assay ${COMMAND}: expected tables of ${LEAST} characters or more, got ${LENGTH}")
  endif()
  string(FIND "${TEXT}" "${TABLE}" AT)
  if(AT LESS 0)
    message(FATAL_ERROR "${FILE}: its tables are not those of the program; put the output of "
                        "'assay ${COMMAND}' at its end")
  endif()
endfunction()

holds_output(docs/methods.md 5000 methods --markdown)
holds_output(docs/tensors.md 8000 tensors --markdown)
