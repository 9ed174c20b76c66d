//! `stepdown check --in-flight`: which answers count as whole.

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::{Stepdown, binary, need};

/// A server that sends its only client this at once, and the rest once it gets TERM; then it closes the connection and
/// ends.
fn answered_with(answer: &str, rest: &str) -> Ended {
    let port = free_port();
    let script = format!(
        "import signal, socket\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n\
         listener = socket.create_server(('127.0.0.1', {port}))\n\
         print('ready', flush=True)\n\
         connection, _ = listener.accept()\n\
         connection.recv(65536)\n\
         connection.sendall(b'{answer}')\n\
         signal.sigwait([signal.SIGTERM])\n\
         connection.sendall(b'{rest}')\n"
    );
    let asked = format!("--in-flight=http://127.0.0.1:{port}/");
    Stepdown::new()
        .args(["check", "--ready-line=ready", "--in-flight-count=1", &asked])
        .child(["/usr/bin/python3", "-c", &script])
        .run()
}

#[test]
fn an_answer_that_may_have_been_cut_off_does_not_count_as_whole() {
    need!(binary::installed("/usr/bin/python3"));
    for head in [
        "HTTP/1.0 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: gzip",
    ] {
        let answer = format!("{head}\\r\\n\\r\\n");
        let ended = answered_with(&answer, "hal");
        ended
            .code(125)
            .said("in-flight: could not be checked")
            .nothing_left();
        ended.said("  way out:  let the server send Content-Length, or Transfer-Encoding: chunked (HTTP/1.1)");
        // It was still at work then.
        let ended = answered_with("", &format!("{answer}whole"));
        ended.code(0).said("All promises held.").nothing_left();
    }
    for whole in [
        "HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nyes",
        "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: gzip, Chunked\\r\\n\\r\\n3\\r\\nyes\\r\\n0\\r\\n\\r\\n",
        "HTTP/1.0 204 No Content\\r\\n\\r\\n",
    ] {
        let ended = answered_with("", whole);
        ended.code(0).said("All promises held.").nothing_left();
    }
    let cut = answered_with("", "HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nyes");
    cut.code(1).said("in-flight: broken").nothing_left();
}
