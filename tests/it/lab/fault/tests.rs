//! Each fault is what it is called, and what it is not told to do it does not.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{
    Direction::{ToClient, ToServer},
    FaultProxy,
};
use crate::waiting::soon;

/// A server that says everything back, behind a proxy.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::to(&listener.local_addr().unwrap().to_string()).await;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    proxy
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(&proxy.host).await.unwrap()
}

/// Says something, and reads as much.
async fn exchange(client: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    client.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).await?;
    Ok(answer)
}

/// What still comes before the end, and how that is.
async fn rest(client: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut rest = Vec::new();
    let end = soon("the end", client.read_to_end(&mut rest)).await;
    (rest, end.err().map(|error| error.kind()))
}

#[tokio::test]
async fn what_is_said_goes_through_and_is_counted() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    let bytes = vec![7; 100_000];
    let (mut from, mut to) = client.split();
    let say = async {
        to.write_all(&bytes).await.unwrap();
        // The end is passed on, and what comes after it from the other side, too.
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, end) = soon("the end", async { tokio::join!(say, from.read_to_end(&mut heard)) }).await;
    assert_eq!((end.unwrap(), heard == bytes), (100_000, true));
    soon("the count", proxy.until_sent(ToServer, 100_000)).await;
    soon("the count", proxy.until_sent(ToClient, 100_000)).await;
    assert_eq!((proxy.sent(ToServer), proxy.sent(ToClient), proxy.connections()), (100_000, 100_000, 1));
}

#[tokio::test]
async fn what_stands_is_cut_and_what_comes_is_not() {
    let proxy = echo().await;
    let (mut one, mut two) = (connect(&proxy).await, connect(&proxy).await);
    exchange(&mut one, b"one").await.unwrap();
    exchange(&mut two, b"two").await.unwrap();
    proxy.cut();
    for client in [&mut one, &mut two] {
        assert_eq!(rest(client).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
    }
    let mut three = connect(&proxy).await;
    assert_eq!(exchange(&mut three, b"three").await.unwrap(), b"three");
    soon("the third", proxy.more_than(2)).await;
}

#[tokio::test]
async fn the_next_connections_are_cut_at_the_byte_of_their_plan() {
    let proxy = echo().await;
    proxy.cut_after(ToClient, [5, 0]);
    proxy.cut_after(ToServer, [3]);
    for expected in ["01234", "", "012"] {
        let mut client = connect(&proxy).await;
        let before = proxy.sent(ToServer);
        // One that is cut at once may be closed before it has said anything.
        let _ = client.write_all(b"0123456789").await;
        let mut came = String::new();
        let _ = soon("the end", client.read_to_string(&mut came)).await;
        if expected == "012" {
            // The answer to what went through is lost where the way there was cut first.
            assert!(expected.starts_with(&came), "{came}");
            assert_eq!(proxy.sent(ToServer) - before, 3);
        } else {
            assert_eq!(came, expected);
        }
    }
    assert_eq!(exchange(&mut connect(&proxy).await, b"0123456789").await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn one_byte_is_another_one() {
    let proxy = echo().await;
    proxy.corrupt(ToServer, [20_000]);
    proxy.corrupt(ToClient, [20_000]);
    let sent = vec![b'a'; 40_000];
    for _ in 0..2 {
        let mut came = exchange(&mut connect(&proxy).await, &sent).await.unwrap();
        assert_eq!(came[20_000], b'A');
        came[20_000] = b'a';
        assert!(came == sent);
    }
    assert!(exchange(&mut connect(&proxy).await, &sent).await.unwrap() == sent);
}

#[tokio::test]
async fn who_is_refused_is_closed_and_costs_no_plan() {
    let proxy = echo().await;
    proxy.cut_after(ToClient, [0]);
    proxy.refuse(true);
    for _ in 0..2 {
        assert_eq!(rest(&mut connect(&proxy).await).await, (Vec::new(), None));
    }
    proxy.refuse(false);
    assert!(exchange(&mut connect(&proxy).await, b"planned").await.is_err());
    assert_eq!(exchange(&mut connect(&proxy).await, b"well").await.unwrap(), b"well");
    assert_eq!(proxy.connections(), 4);
}

/// Whether nothing comes. The clock must be paused: it goes on when nothing else does.
async fn hears_nothing(client: &mut TcpStream) -> bool {
    timeout(Duration::from_secs(1), client.read_u8()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_while_it_is_stalled_and_nothing_is_lost() {
    let proxy = echo().await;
    let mut stalled = connect(&proxy).await;
    exchange(&mut stalled, b"before").await.unwrap();
    proxy.stall();
    stalled.write_all(b"stalled").await.unwrap();
    assert!(hears_nothing(&mut stalled).await);
    // One to come is well, until all are stalled.
    let mut other = connect(&proxy).await;
    assert_eq!(exchange(&mut other, b"other").await.unwrap(), b"other");
    proxy.stall_all();
    let mut third = connect(&proxy).await;
    for client in [&mut other, &mut third] {
        client.write_all(b"stalled").await.unwrap();
        assert!(hears_nothing(client).await);
    }
    assert_eq!(proxy.sent(ToServer), b"beforeother".len() as u64);
    proxy.resume();
    for client in [&mut stalled, &mut other, &mut third] {
        let mut late = [0; 7];
        client.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"stalled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_deaf_is_heard_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::to(&listener.local_addr().unwrap().to_string()).await;
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.deafen();
    client.write_all(b"lost?").await.unwrap();
    assert!(hears_nothing(&mut server).await);
    server.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    proxy.resume();
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"lost?", "it was only late");
}

#[tokio::test]
async fn what_is_stalled_can_be_cut() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    exchange(&mut client, b"before").await.unwrap();
    proxy.stall();
    client.write_all(b"stalled").await.unwrap();
    proxy.cut();
    assert_eq!(rest(&mut client).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn every_piece_is_late() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    exchange(&mut client, b"in time").await.unwrap();
    proxy.delay(Duration::from_secs(2));
    let begun = Instant::now();
    assert_eq!(exchange(&mut client, b"late").await.unwrap(), b"late");
    assert!(begun.elapsed() >= Duration::from_secs(4), "once each way");
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_takes_its_time() {
    let proxy = echo().await;
    proxy.throttle(1000);
    let begun = Instant::now();
    assert_eq!(exchange(&mut connect(&proxy).await, &[7; 5000]).await.unwrap(), [7; 5000]);
    // Its last piece comes back while the one before it is under way.
    assert!(begun.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_healed_is_well() {
    let proxy = echo().await;
    proxy.refuse(true);
    proxy.stall_all();
    proxy.delay(Duration::from_secs(3600));
    proxy.throttle(1);
    proxy.cut_after(ToClient, [0]);
    proxy.corrupt(ToClient, [0]);
    proxy.heal();
    assert_eq!(exchange(&mut connect(&proxy).await, b"well").await.unwrap(), b"well");
}

#[tokio::test]
async fn a_server_that_is_away_closes_connections_until_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxy = FaultProxy::to(&address.to_string()).await;
    let mut client = connect(&proxy).await;
    assert_eq!(rest(&mut client).await, (Vec::new(), None));
    let listener = TcpListener::bind(address).await.unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"there").await.unwrap();
    let (mut server, _) = soon("the connection", listener.accept()).await.unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"there");
}

#[tokio::test]
async fn lines_are_what_clients_said() {
    let proxy = echo().await;
    exchange(&mut connect(&proxy).await, b"GET /v2/ HTTP/1.1\r\nrange: bytes=5-\r\n\r\n").await.unwrap();
    assert_eq!(proxy.lines("GET "), ["/v2/ HTTP/1.1"]);
    assert_eq!(proxy.lines("range: "), ["bytes=5-"]);
}
