/** `kill -9` under Hocuspocus and y-sweet clients: what they told their users is saved is there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { join } from '../helpers/clients.js'
import { HOCUSPOCUS } from '../helpers/hocuspocus.js'
import { stored } from '../helpers/load.js'
import { generator, seed } from '../helpers/random.js'
import { startServer } from '../helpers/server.js'
import { sleep } from '../helpers/wait.js'
import { YSWEET } from '../helpers/ysweet.js'

/** Kills per test; `TEST_KILLS=200` for the long run. */
const KILLS = Number(process.env.TEST_KILLS ?? 10)

const WRITERS_PER_CLIENT = 2

/** How long the load runs before a kill, so that kills hit every phase of a commit. */
const RUN_MS_MIN = 100
const RUN_MS_MAX = 500

/** Edits at a time; in the pause after them all may become saved, but nobody waits for that for long. */
const BURST_MAX = 8
const PAUSE_MS_MAX = 60

/** A user who types in bursts, and notes what the client says is saved. */
class Typist {
  constructor (peer, name, random) {
    this.peer = peer
    this.name = name
    this.random = random
    this.made = 0
    /** All edits up to here were saved at some moment, by the client's own word. */
    this.promised = 0
    this.typing = false
  }

  key (edit) {
    return `${this.name}-${edit}`
  }

  type () {
    this.made++
    this.peer.set(this.key(this.made), this.made)
  }

  look () {
    if (this.peer.isSaved) this.promised = this.made
  }

  async run () {
    this.typing = true
    const pause = 1 + this.random() * PAUSE_MS_MAX
    while (this.typing) {
      for (let edit = Math.ceil(this.random() * BURST_MAX); edit > 0; edit--) this.type()
      const end = Date.now() + pause
      do {
        await sleep(1)
        this.look()
      } while (this.typing && this.promised < this.made && Date.now() < end)
    }
  }

  keys () {
    return Array.from({ length: this.promised }, (_, edit) => this.key(edit + 1))
  }
}

/** Runs until the server dies; what the clients heard before that counts, nothing after it. */
async function typeUntilKilled (server, typists, random) {
  const running = typists.map(typist => typist.run())
  await sleep(RUN_MS_MIN + random() * (RUN_MS_MAX - RUN_MS_MIN))
  // Who is back too soon would bring what was lost.
  typists.forEach(({ peer }) => peer.stayAway())
  await server.kill()
  typists.forEach(typist => { typist.typing = false })
  await Promise.all(running)
  // Acknowledgements that were on their way have arrived when the sockets are closed.
  await Promise.all(typists.map(({ peer }) => peer.disconnected()))
  typists.forEach(typist => typist.look())
}

for (const client of [...HOCUSPOCUS, YSWEET]) {
  test(`${KILLS} kills lose nothing that ${client.name} called saved, seed ${seed}`, async t => {
    const random = generator(seed)
    const server = await startServer(t)
    const typists = []
    for (let writer = 0; writer < WRITERS_PER_CLIENT; writer++) {
      const peer = await join(t, client, server, 'killed')
      typists.push(new Typist(peer, `${writer}`, random))
    }
    for (let kill = 0; kill < KILLS; kill++) {
      await typeUntilKilled(server, typists, random)
      await server.start()
      const there = await stored(server, 'killed')
      for (const typist of typists) {
        const lost = typist.keys().filter(key => !there.has(key))
        assert.deepEqual(lost.slice(0, 5), [], `kill ${kill}: ${lost.length} of ${typist.promised} lost`)
        // Offline edits, too: half of the time the next kill comes while they are on their way.
        for (let edit = 0; edit < BURST_MAX; edit++) typist.type()
        typist.peer.connect()
      }
      if (kill % 2) {
        await Promise.all(typists.map(typist => typist.peer.saved()))
        typists.forEach(typist => typist.look())
      }
    }
    const promised = typists.reduce((sum, typist) => sum + typist.promised, 0)
    assert.ok(promised > KILLS, `the load was real: ${promised} promised`)
    t.diagnostic(`${promised} of ${typists.reduce((sum, typist) => sum + typist.made, 0)} edits were called saved over ${KILLS} kills`)
  })
}
