"""Writes the golden vectors as seeds: corpus/v1 and corpus/headers beside this file."""

import json
import pathlib

here = pathlib.Path(__file__).parent
vectors = json.loads((here.parent / "tests/vectors/formix_v1.json").read_text())
for target in ("v1", "headers"):
    (here / "corpus" / target).mkdir(parents=True, exist_ok=True)
for group in ("writer_vectors", "reader_accepts", "reader_rejects"):
    for vector in vectors[group]:
        if vector.get("hex") is not None:
            (here / "corpus/v1" / vector["name"]).write_bytes(bytes.fromhex(vector["hex"]))
        if "headers_json" in vector:
            (here / "corpus/headers" / vector["name"]).write_text(vector["headers_json"])
