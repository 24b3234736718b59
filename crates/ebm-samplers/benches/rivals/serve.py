"""A rival's side of a bench: one JSON request per line on stdin, one JSON answer per line on stdout.

`{"case": NAME, ...settings}` prepares a case: builds it, compiles it and runs it once; the answer holds the
seconds of that as `warm_up_seconds`. `{"seed": N}` runs the prepared case; the answer holds `seconds` and what else
the case reports. A failure is answered as `{"error": TEXT}`.

The bench sets EBM_BENCH_THREADS. It is read here, before any numerical library is imported.
"""

import json
import os
import sys
import time
import traceback

THREADS = int(os.environ.get("EBM_BENCH_THREADS", "2"))

# XLA takes as many threads as the process may use cores, and has no setting for it.
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > THREADS:
        os.sched_setaffinity(0, cores[:THREADS])
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(THREADS)


def timed(work):
    """Seconds that `work()` took, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def write_draws(path, draws):
    """Draws `[chain, draw, dim]` as raw little-endian f64, for our own estimators."""
    import numpy

    numpy.ascontiguousarray(draws, dtype="<f8").tofile(path)


def serve(cases):
    """Answers requests until stdin ends. `cases` maps a name to `build(settings) -> run(seed) -> dict`."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "case" in request:
                start = time.perf_counter()
                run = cases[request["case"]](request)
                run(0)
                answer = {"warm_up_seconds": time.perf_counter() - start}
            else:
                answer = run(request["seed"])
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
