// The JavaScript client of the seed document, as it intends it: there, the publish at the end runs before the connection is
// open, which every browser refuses with an InvalidStateError. So here it waits for that.
const ws = new WebSocket(`ws://${process.argv[2]}/ws`);

ws.onopen = () => {
    // Subscribe to topic
    ws.send(JSON.stringify({
        action: 'subscribe',
        topic: 'news',
        replay_last: 5
    }));

    // Publish a message
    ws.send(JSON.stringify({
        action: 'publish',
        topic: 'news',
        message: { text: 'Breaking news!' }
    }));
};

ws.onmessage = (event) => {
    const data = JSON.parse(event.data);
    console.log('Received:', data);
};
