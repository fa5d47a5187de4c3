/** Every pair of unmodified clients ends in equal state, whatever the network did. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENTS, PAIRS, converged, join } from '../helpers/clients.js'
import { edit, generator, seed } from '../helpers/random.js'
import { sharedServer } from '../helpers/server.js'
import { sleep } from '../helpers/wait.js'

const server = sharedServer()

const title = clients => clients.map(client => client.name).join(' with ')

/** All peers edit at once, with pauses short enough to overlap. */
async function scribble (peers, edits, random) {
  for (let round = 0; round < edits; round++) {
    for (const peer of peers) edit(peer, random)
    if (round % 7 === 0) await sleep(5)
  }
}

for (const [index, pair] of PAIRS.entries()) {
  test(`${title(pair)} converge, seed ${seed}`, async t => {
    const random = generator(seed + index)
    const document = `converge-${index}`
    const peers = [await join(t, pair[0], server, document), await join(t, pair[1], server, document)]
    await scribble(peers, 60, random)
    await converged(...peers)
    assert.ok(peers[0].text.length > 0)
  })

  test(`${title(pair)} converge after both edited offline, seed ${seed}`, async t => {
    const random = generator(seed + 100 + index)
    const document = `offline-${index}`
    const peers = [await join(t, pair[0], server, document), await join(t, pair[1], server, document)]
    await scribble(peers, 10, random)
    await converged(...peers)
    peers.forEach(peer => peer.disconnect())
    await scribble(peers, 30, random)
    assert.notEqual(peers[0].state, peers[1].state)
    peers.forEach(peer => peer.connect())
    await converged(...peers)
  })
}

test(`all clients in one document converge through cuts, seed ${seed}`, async t => {
  const random = generator(seed + 200)
  const peers = []
  for (const client of CLIENTS) {
    peers.push(await join(t, client, server, 'all'), await join(t, client, server, 'all'))
  }
  for (let round = 0; round < 4; round++) {
    await scribble(peers, 10, random)
    peers[Math.floor(random() * peers.length)].cut()
    await scribble(peers, 10, random)
  }
  await converged(...peers)
})

for (const client of CLIENTS) {
  test(`${client.name} gets everything when it comes late`, async t => {
    const document = `late-${client.name.replaceAll(/[^a-z0-9]/g, '-')}`
    const random = generator(seed + 300)
    const early = []
    for (const other of CLIENTS) early.push(await join(t, other, server, document))
    early.forEach(peer => peer.present({ name: peer.client.name }))
    await scribble(early, 30, random)
    await converged(...early)
    early[0].destroy()
    const late = await join(t, client, server, document)
    await converged(late, ...early.slice(1))
  })
}
