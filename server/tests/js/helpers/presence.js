/** What peers know of each other. */
import { until } from './wait.js'

/** Well below the 15 s after which clients announce themselves again: nobody waits for that. */
export const SOON_MS = 10_000

/**
 * Below the 15 s that are left at the least of the 30 s after which a watcher's own awareness forgets who
 * does not announce itself.
 */
const GONE_MS = 14_000

/** Resolves when one peer sees another in exactly this state. */
export const seen = (watcher, peer, state) => until(
  `${watcher.client.name} sees ${JSON.stringify(state)} of ${peer.client.name}`,
  () => JSON.stringify(watcher.sees(peer)) === JSON.stringify(state),
  SOON_MS,
  () => `; it sees ${JSON.stringify(watcher.sees(peer))}`
)

/** Resolves when one peer no longer sees another. */
export const gone = (watcher, peer) => until(
  `${watcher.client.name} sees ${peer.client.name} leave`,
  () => watcher.sees(peer) === undefined,
  GONE_MS
)
