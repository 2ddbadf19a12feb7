"""The Python client of the seed document, as it stands there but for the address."""

import asyncio
import websockets
import json
import sys

async def pubsub_client():
    uri = f"ws://{sys.argv[1]}/ws"
    async with websockets.connect(uri) as websocket:
        # Subscribe to a topic
        await websocket.send(json.dumps({
            "action": "subscribe",
            "topic": "news",
            "replay_last": 5
        }))

        # Receive messages
        async for message in websocket:
            data = json.loads(message)
            print(f"Received: {data}", flush=True)

asyncio.run(pubsub_client())
