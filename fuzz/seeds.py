"""Writes seeds: the golden vectors to corpus/v1 and corpus/headers beside this file, programs of `ring.rs` to corpus/ring."""

import json
import pathlib
import struct

here = pathlib.Path(__file__).parent
vectors = json.loads((here.parent / "tests/vectors/formix_v1.json").read_text())
for target in ("v1", "headers", "ring"):
    (here / "corpus" / target).mkdir(parents=True, exist_ok=True)
for group in ("writer_vectors", "reader_accepts", "reader_rejects"):
    for vector in vectors[group]:
        if vector.get("hex") is not None:
            (here / "corpus/v1" / vector["name"]).write_bytes(bytes.fromhex(vector["hex"]))
        if "headers_json" in vector:
            (here / "corpus/headers" / vector["name"]).write_text(vector["headers_json"])

PUBLISH, LARGE, FETCH, LOOK, WRITE, LONGER = 6, 11, 12, 15, 0, 5
for terms in range(64):
    operations = [(PUBLISH, n, 0) for n in range(20)] + [(LARGE, 0, 100_000), (FETCH, 7, 0), (LOOK, 0, 0)]
    operations += [(WRITE, 512 + 16 * n, 1 << 8 * n) for n in range(6)] + [(LONGER, 0, 1 << 27), (PUBLISH, 99, 0)]
    seed = bytes([terms]) + b"".join(struct.pack("<BHQ", *operation) for operation in operations)
    (here / "corpus/ring" / str(terms)).write_bytes(seed)
