"""A model of Hugging Face transformers (docs/python.md lists which) as a subject of Assay.

    assay generate --method plain --seq 32 --out golden.h5
    assay verify golden.h5 --subject exec:"python3 examples/hf_model.py" --leakage

--attention sdpa, whose scores and probabilities nobody sees, and --compiled are other ways to run
it: what is there is judged. Needs torch and transformers.
"""

import argparse

import assay_subject


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", default="eager")
    parser.add_argument("--compiled", action="store_true", help="through torch.compile")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    assay_subject.serve(
        assay_subject.TorchSubject(
            attention=chosen.attention, compiled=chosen.compiled, device=chosen.device
        )
    )


if __name__ == "__main__":
    main()
