//! What is written.

use super::*;

#[test]
fn receipts_are_one_frame_each() {
    let mut one = BytesMut::new();
    let receipts = |count| Outbound::Receipts {
        accepted: true,
        count,
    };
    write_frames(b"doc", &receipts(1), &mut one);
    assert_eq!(&one[..], b"\x82\x06\x03doc\x08\x01");
    let mut three = BytesMut::new();
    write_frames(b"doc", &receipts(3), &mut three);
    assert_eq!(&three[..], one.repeat(3));
}
