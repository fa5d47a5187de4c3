//! The README example of yrs-warp 0.9 with a room per path and a buffer of 1,024 updates:
//! `yrs-warp-example PORT`.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Mutex;
use warp::Filter;
use warp::ws::{WebSocket, Ws};
use yrs::Doc;
use yrs::sync::Awareness;
use yrs_warp::broadcast::BroadcastGroup;
use yrs_warp::ws::{WarpSink, WarpStream};

const BUFFERED_UPDATES: usize = 1024;

type Rooms = Arc<Mutex<HashMap<String, Arc<BroadcastGroup>>>>;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let rooms = Rooms::default();
    let socket = warp::path("ws")
        .and(warp::path::param::<String>())
        .and(warp::ws())
        .map(move |name: String, upgrade: Ws| {
            let rooms = rooms.clone();
            upgrade.on_upgrade(move |socket| serve(socket, name, rooms))
        });
    warp::serve(socket).run(([127, 0, 0, 1], port.unwrap_or(8000))).await;
}

async fn serve(socket: WebSocket, name: String, rooms: Rooms) {
    let mut open = rooms.lock().await;
    let room = match open.get(&name) {
        Some(room) => room.clone(),
        None => {
            let awareness = Arc::new(Awareness::new(Doc::new()));
            let room = Arc::new(BroadcastGroup::new(awareness, BUFFERED_UPDATES).await);
            open.insert(name, room.clone());
            room
        }
    };
    drop(open);
    let (sink, stream) = socket.split();
    let sink = Arc::new(Mutex::new(WarpSink::from(sink)));
    let session = room.subscribe(sink, WarpStream::from(stream));
    // A client that leaves in the middle of a frame is no failure of the example.
    let _ = session.completed().await;
}
