# What every kernel is tried on, here on the host executor and in tests/device on a GPU.
set(KERNEL_CASES
  attention_backward_cases.cpp attention_cases.cpp coefficient_gradient_cases.cpp cross_entropy_cases.cpp
  dropout_cases.cpp gate_cases.cpp head_cases.cpp head_messages_cases.cpp head_messages_problem.cpp mean_field_cases.cpp norm_backward_cases.cpp
  norm_cases.cpp optimizer_cases.cpp pointwise_backward_cases.cpp pointwise_cases.cpp gemm_backward_cases.cpp
  gemm_cases.cpp stack_cases.cpp stream_cases.cpp)
