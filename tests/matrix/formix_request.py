"""The request and reply programs of examples/, as an unmodified formix-pubsub program does it by its documentation.

formix_request.py request TOPIC TEXT..., formix_request.py reply PATTERN COUNT
"""

import sys
import time

from pubsub import Channel, fetch, publish


def next_message(channel):
    end = time.monotonic() + 20
    while (message := fetch(channel)) is None:
        if time.monotonic() > end:
            sys.exit("nothing came in time")
        time.sleep(0.001)
    return message


def published(topic, data, headers):
    """Again when nobody took it: ids of formix-pubsub's have 16 random bits and may collide."""
    return any(publish(topic, data, headers=headers) for _ in range(3))


def request(topic, *texts):
    response_topic = f"rpc.responses.client{time.time_ns()}"
    with Channel(topic=response_topic) as responses:
        for number, text in enumerate(texts):
            correlation_id = f"{time.time_ns()}-{number}"
            headers = {"response-topic": response_topic, "correlation-id": correlation_id}
            if not published(topic, text.encode(), headers):
                sys.exit("nobody listens")
            response = next_message(responses)
            assert response.headers == {"correlation-id": correlation_id}, response.headers
            print(f"{text}: {response.content.decode()}")


def reply(pattern, count):
    with Channel(topic=pattern) as requests:
        print(f"listening on {pattern}", flush=True)
        for _ in range(int(count)):
            message = next_message(requests)
            headers = {"correlation-id": message.headers["correlation-id"]}
            took = published(message.headers["response-topic"], message.content.decode().upper().encode(), headers)
            print(f"{message.topic}: {'answered' if took else 'too late'}")


{"request": request, "reply": reply}[sys.argv[1]](*sys.argv[2:])
