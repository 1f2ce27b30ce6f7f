# README.md's table of methods is what the program says of them.
execute_process(COMMAND ${ASSAY} methods --markdown OUTPUT_VARIABLE TABLE COMMAND_ERROR_IS_FATAL ANY)
file(READ ${SOURCE}/README.md README)
string(LENGTH "${TABLE}" LENGTH)
if(LENGTH LESS 1000)
  message(FATAL_ERROR "assay methods --markdown: expected a table, got ${LENGTH} characters")
endif()
string(FIND "${README}" "${TABLE}" AT)
if(AT LESS 0)
  message(FATAL_ERROR "README.md: the table of methods is not that of the program; "
                      "put the output of 'assay methods --markdown' below '## Methods'")
endif()
