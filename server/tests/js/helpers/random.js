/** Random edits from a printed seed, so that a failure can be run again. */

/** A small generator (mulberry32): numbers in [0, 1). */
export function generator (seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** `TEST_SEED`, or a fresh one. Tests print it with their failures. */
export const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000)

/** One edit of a kind that people make: mostly typing, some deleting, now and then a property. */
export function edit (peer, random) {
  const length = peer.text.length
  const at = Math.floor(random() * (length + 1))
  const kind = random()
  if (kind < 0.6) {
    peer.insert(at, String.fromCharCode(97 + Math.floor(random() * 26)).repeat(1 + random() * 3))
  } else if (kind < 0.65) {
    peer.insert(at, '🌍é')
  } else if (kind < 0.85 && length > 0) {
    const from = Math.min(at, length - 1)
    peer.remove(from, Math.min(1 + Math.floor(random() * 4), length - from))
  } else {
    peer.set(`key${Math.floor(random() * 8)}`, Math.floor(random() * 1000))
  }
}
