"""What cuda_impl and reference both call is a list that a person has read: functions of the
contract that name, check and hand over, none that computes what one of them judges of the other.

usage: shared_functions_test.py LIST CONTRACT CUDA_IMPL REFERENCE
LIST: a function a line; the others are static libraries
"""

import subprocess
import sys


def symbols(library, *options):
    lines = subprocess.run(["nm", "-C", *options, library], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    names = {line.split(maxsplit=2)[-1] if line[:1] != " " else line.split(maxsplit=1)[-1]
             for line in lines if line.strip()}
    # Without arguments and return types: an overload is the same function.
    return {name.split("(")[0].removesuffix("[abi:cxx11]") for name in names
            if name.startswith("assay::")}


def main():
    listed, contract, cuda_impl, reference = sys.argv[1:]
    with open(listed) as file:
        allowed = {line.strip() for line in file if line.strip() and not line.startswith("#")}
    shared = symbols(contract, "--defined-only", "--extern-only")
    shared &= symbols(cuda_impl, "--undefined-only") & symbols(reference, "--undefined-only")
    for name in sorted(shared - allowed):
        print(f"shared_functions_test: {name}: both cuda_impl and reference call it: a mistake "
              "there would be a mistake of both "
              f"and show nowhere; give each its own, or add it to {listed} if it decides and "
              "computes nothing")
    for name in sorted(allowed - shared):
        print(f"shared_functions_test: {name}: is listed, but they do not both call it: take it "
              f"out of {listed}")
    if not shared:
        print("shared_functions_test: no shared function at all: expected InputError's at least")
    if shared and shared == allowed:
        print(f"shared_functions_test: {len(shared)} functions, all listed")
    return 0 if shared and shared == allowed else 1


if __name__ == "__main__":
    sys.exit(main())
