//! Request and reply with formix-pubsub on one side: the pattern that its documentation shows.

use std::time::Duration;

use pubsub::{HeaderValue, reply};

use crate::support::Home;

/// A server as in formix-pubsub's documentation answers requests of ours.
#[test]
fn a_formix_server_answers_our_requests() {
    let home = Home::new();
    let mut formix = home.formix();
    formix.open("requests", "rpc.requests");
    formix.begin(
        r#"
def handle_request(request):
    response_topic = request.headers.get("response-topic")
    correlation_id = request.headers.get("correlation-id")
    if response_topic and correlation_id:
        result = f"Processed: {request.content.decode()}"
        publish(response_topic, result.encode(), headers={"correlation-id": correlation_id})
    if request.content == b"last":
        os.kill(os.getpid(), signal.SIGTERM)

before = signal.signal(signal.SIGTERM, lambda *_: None)
answer = subscribe(requests, handle_request, timeout_seconds=60.0)
signal.signal(signal.SIGTERM, before)
"#,
    );
    let client = home.publisher("rpc.requests");
    let timeout = Some(Duration::from_secs(30));
    for question in ["Calculate 2 + 2", "ä\u{1F600}", "last"] {
        let answer = client.request(question.as_bytes(), None, timeout).unwrap().expect("a reply in time");
        assert_eq!(answer.data(), format!("Processed: {question}").as_bytes());
    }
    // What it answers when a signal ended it.
    assert_eq!(formix.end(), -1);
    formix.run("requests.close()");
    let error = client.request(b"nobody", None, None).unwrap_err();
    assert_eq!(error.kind(), pubsub::ErrorKind::NotFound);
}

/// A client as in formix-pubsub's documentation is answered by a server of ours.
#[test]
fn our_server_answers_formix_requests() {
    let home = Home::new();
    let mut formix = home.formix();
    let mut requests = home.channel("rpc.requests");
    formix.open("response_channel", "rpc.responses.client1");
    // A timestamp, as documented; and what other programs use.
    for id in ["str(int(__import__('time').time() * 1000000))", "17", "1.5", "None", "'ä'"] {
        formix.run(&format!(
            r#"
correlation_id = {id}
headers = {{"response-topic": "rpc.responses.client1", "correlation-id": correlation_id}}
answer = publish_apart("rpc.requests", b"Calculate 2 + 2", headers)
"#
        ));
        let request = requests.fetch_wait(Some(Duration::from_secs(30))).unwrap().expect("the request");
        assert_eq!(request.data(), b"Calculate 2 + 2");
        let topic = request.headers().get("response-topic").cloned();
        assert_eq!(topic, Some(HeaderValue::String("rpc.responses.client1".into())));
        assert_eq!(reply(&request, b"4", None).unwrap(), 1);
        let same = "response = fetch(response_channel); \
                    answer = [response.content.decode(), response.headers == {'correlation-id': correlation_id}]";
        assert_eq!(formix.run(same), serde_json::json!(["4", true]), "{id}");
    }
    formix.run("response_channel.close()");
}
