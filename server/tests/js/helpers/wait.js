/** Waiting for what must happen, with one generous bound and a message when it does not. */
import { setTimeout as sleep } from 'node:timers/promises'

export { sleep }

/**
 * Far above what anything here takes on a busy two-core machine; only a failure waits this long. Below the
 * 30 s after which clients connect anew: nothing heals by that.
 */
export const PATIENCE_MS = Number(process.env.TEST_PATIENCE_MS ?? 29_000)

/** How often a condition is looked at. */
const POLL_MS = 10

/**
 * Resolves with the first truthy value of `probe`.
 *
 * @template T
 * @param {string} what names the condition in the failure
 * @param {() => T | Promise<T>} probe
 * @param {number} [patienceMs]
 * @param {() => unknown} [describe] what to show when time is up
 * @returns {Promise<T>}
 */
export async function until (what, probe, patienceMs = PATIENCE_MS, describe = () => '') {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const value = await probe()
    if (value) return value
    if (Date.now() > deadline) {
      throw new Error(`waited ${patienceMs} ms until ${what} ${describe()}`)
    }
    await sleep(POLL_MS)
  }
}
