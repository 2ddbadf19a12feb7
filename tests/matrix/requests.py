"""Every language answers every other's requests, formix-pubsub's among them: the request and reply programs of examples/.

    requests.py NAME REQUEST REPLY ...

REQUEST and REPLY are commands; the store is that of PUBSUB_HOME. Prints, as cargo does, the totals: a test is a pair.
"""

import subprocess
import shlex
import sys

PATIENCE = 250  # seconds: something hangs
QUESTIONS = ["first one", "second"]
FORMIX = "formix-pubsub"  # whose own channels match otherwise than it documents: it does not ask itself
ANSWERS = "first one: FIRST ONE\nsecond: SECOND\n"


def ask(command):
    """What is wrong with the answers, if anything."""
    try:
        done = subprocess.run(
            [*shlex.split(command), "ask.me", *QUESTIONS], capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    return None if done.stdout == ANSWERS else f"it printed {done.stdout!r}"


def played(replier, reply, requesters):
    """One process of the replier answers all requesters; yields what is wrong."""
    count = len(requesters) * len(QUESTIONS)
    process = subprocess.Popen(
        [*shlex.split(reply), "ask.=", str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on"):
            yield f"{replier} does not listen: {line}{process.stdout.read()}"
            return
        for requester, request in requesters:
            if wrong := ask(request):
                yield f"{replier} answers {requester}: {wrong}"
        said, _ = process.communicate(timeout=PATIENCE)
        if process.returncode != 0 or said != "ask.me: answered\n" * count:
            yield f"{replier} ended with {process.returncode} and printed {said!r}"
    except subprocess.TimeoutExpired:
        yield f"{replier} does not end"
    finally:
        process.kill()
        process.communicate()


def main(words):
    programs = list(zip(words[::3], words[1::3], words[2::3]))
    failed = pairs = 0
    for name, _, reply in programs:
        requesters = [(asks, request) for asks, request, _ in programs if not asks == name == FORMIX]
        pairs += len(requesters)
        problems = list(played(name, reply, requesters))
        failed += len(problems)
        print(f"{name} answers {', '.join(requester for requester, _ in requesters)}" if not problems else "\n".join(problems))
    passed = max(pairs - failed, 0)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed; requests")
    return 1 if failed else 0


sys.exit(main(sys.argv[1:]))
