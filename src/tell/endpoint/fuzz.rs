//! Whatever a client sends, it gets at most one answer, which is HTTP, and the connection ends.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

pub(crate) fn request(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let endpoint = Arc::new(Endpoint {
        began: Instant::now(),
        began_at: SystemTime::UNIX_EPOCH,
        not_ready: StatusCode::SERVICE_UNAVAILABLE,
        listening: Record::EndpointListening {
            address: String::new(),
            chosen: false,
        },
        state: Mutex::new(Shared {
            progress: Progress::default(),
            totals: Totals::default(),
            checkers: Checkers::default(),
        }),
    });
    let (events, _received) = mpsc::unbounded_channel();
    let answer = runtime.block_on(async {
        let (mut client, server) = duplex(64 * 1024);
        let talk = tokio::spawn(talk(server, ([127, 0, 0, 1], 9).into(), endpoint, events));
        // It may have been enough already.
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        talk.await.unwrap();
        answer
    });
    if answer.is_empty() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let end = head.parse(&answer).unwrap();
    assert!(end.is_complete());
    let code = head.code.unwrap();
    assert!(
        [200, 400, 404, 405, 413, 414, 431, 501, 503, 505].contains(&code),
        "{code}"
    );
    let body = &answer[end.unwrap()..];
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |field| {
        str::from_utf8(field.value).unwrap().parse().unwrap()
    });
    assert!(body.is_empty() || body.len() == length, "{}", body.len());
}
