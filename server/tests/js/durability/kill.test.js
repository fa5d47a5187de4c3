/** `kill -9` under load: what was acknowledged survives; with a durable relay, what was seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Witness, Writer, stored } from '../helpers/load.js'
import { generator, seed } from '../helpers/random.js'
import { startServer } from '../helpers/server.js'
import { sleep, until } from '../helpers/wait.js'

/** Kills per test; `TEST_KILLS=200` for the long run. */
const KILLS = Number(process.env.TEST_KILLS ?? 10)

const WRITERS_PER_DOCUMENT = 2

/** How long the load runs before a kill, so that kills hit every phase of a commit. */
const RUN_MS_MIN = 50
const RUN_MS_MAX = 400

for (const relay of ['immediate', 'durable']) {
  test(`${KILLS} kills with --relay ${relay} lose nothing that was promised, seed ${seed}`, async t => {
    const random = generator(seed)
    const server = await startServer(t, ['--relay', relay])
    const promised = new Map()
    let acknowledged = 0
    for (let kill = 0; kill < KILLS; kill++) {
      // Fresh documents now and then: creation has to survive, too, and loads stay short.
      const documents = [`a-${kill >> 2}`, `b-${kill >> 3}`]
      const { writers, witnesses } = await runAndKill(server, documents, kill, random)
      for (const writer of writers) {
        acknowledged += writer.acknowledged
        const keys = promised.get(writer.document) ?? new Set()
        for (let edit = 1; edit <= writer.acknowledged; edit++) keys.add(writer.key(edit))
        promised.set(writer.document, keys)
      }
      if (relay === 'durable') {
        for (const witness of witnesses) {
          for (const key of witness.seen) promised.get(witness.document).add(key)
        }
      }
      await server.start()
      for (const [document, keys] of promised) {
        const there = await stored(server, document)
        const lost = [...keys].filter(key => !there.has(key))
        assert.deepEqual(lost.slice(0, 5), [], `kill ${kill}: ${lost.length} of ${keys.size} lost in ${document}`)
      }
    }
    assert.ok(acknowledged > KILLS * 10, `the load was real: ${acknowledged} acknowledged`)
    t.diagnostic(`${acknowledged} edits acknowledged over ${KILLS} kills`)
  })
}

async function runAndKill (server, documents, kill, random) {
  const writers = documents.flatMap(document =>
    Array.from({ length: WRITERS_PER_DOCUMENT }, (_, index) =>
      new Writer(server, document, `${kill}-${index}`)))
  const witnesses = documents.map(document => new Witness(server, document))
  const running = [...writers, ...witnesses].map(peer => peer.run())
  // Every other kill may come while they connect.
  if (kill % 2) await until('all write', () => writers.every(writer => writer.acknowledged > 0))
  await sleep(RUN_MS_MIN + random() * (RUN_MS_MAX - RUN_MS_MIN))
  await server.kill()
  await Promise.all(running)
  return { writers, witnesses }
}
