# Reads which folder includes which and fails on a forbidden arrow: no file of cuda_impl may include one of
# reference or verify, none of reference one of cuda_impl or verify, none of verify outside cli/ one of cuda_impl.
# What a target cannot include it cannot use; the link lists are checked the same way.
function(forbid FOLDER PATTERN EXCEPT)
  file(GLOB_RECURSE FILES ${SOURCE}/${FOLDER}/*.h ${SOURCE}/${FOLDER}/*.cpp ${SOURCE}/${FOLDER}/*.cu
       ${SOURCE}/${FOLDER}/CMakeLists.txt)
  list(LENGTH FILES COUNT)
  if(COUNT EQUAL 0)
    message(FATAL_ERROR "${FOLDER}: nothing was checked")
  endif()
  foreach(FILE ${FILES})
    if(EXCEPT AND FILE MATCHES "${EXCEPT}")
      continue()
    endif()
    file(STRINGS ${FILE} LINES REGEX "${PATTERN}")
    if(LINES)
      message(SEND_ERROR "${FILE}: forbidden: ${LINES}")
    endif()
  endforeach()
  message(STATUS "${FOLDER}: ${COUNT} files clean")
endfunction()

forbid(cuda_impl "include \"(reference|verify)/|assay(::|_)(reference|verify|products)" "")
forbid(reference "include \"(cuda_impl|verify)/|assay(::|_)(engine|kernels|simt|verify)" "")
forbid(verify "include \"cuda_impl/|assay(::|_)(engine|kernels|simt)" "/verify/cli/")
forbid(golden "include \"(reference|cuda_impl|verify)/|assay(::|_)(reference|engine|verify)" "/golden/generate/")
