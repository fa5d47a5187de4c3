// Random honest histories: clients that edit, undo, hear of each other in part, and what they send.

import * as yjs13 from './yjs13.mjs'
import * as yjs14 from './yjs14.mjs'
import { Random } from './random.mjs'

const Y = yjs13.library

const clientID = (random, flavour) => flavour === yjs14 && random.oneIn(2)
  ? Number(random.bits() % (1n << 53n))
  : Number(random.bits() % (1n << 32n))

const peer = (random, flavour) => {
  const doc = flavour.create(random, clientID(random, flavour))
  const made = { flavour, doc, sent: [], undo: random.oneIn(2) ? flavour.undoManager(doc) : null }
  doc.on('update', (update, origin, _doc, transaction) => {
    // Peers resend each other's edits now and then, as after a crash.
    if (transaction.local || random.oneIn(10)) made.sent.push(update)
  })
  return made
}

const step = (random, peers) => {
  const self = random.pick(peers)
  if (random.oneIn(3)) hear(random, self, random.pick(peers))
  if (self.undo && random.oneIn(5)) return random.oneIn(2) ? self.undo.undo() : self.undo.redo()
  self.flavour.edit(random, self.doc)
}

// Takes everything of another client, or only some of its updates, which may then stay pending.
const hear = (random, self, other) => {
  if (self === other) return
  if (random.oneIn(3) && other.sent.length > 0) {
    return self.flavour.library.applyUpdate(self.doc, random.pick(other.sent), 'heard')
  }
  self.flavour.library.applyUpdate(self.doc, state(other, vector(self)), 'heard')
}

const state = ({ flavour, doc }, vector) => flavour.library.encodeStateAsUpdate(doc, vector)
const vector = ({ flavour, doc }) => flavour.library.encodeStateVector(doc)

// What reaches the server: single updates in any order, merged ones with holes, differences, states.
const deliveries = (random, peers) => {
  const all = peers.flatMap(({ sent }, index) => sent.map(update => ({ peer: index, update })))
  if (random.oneIn(2)) random.shuffle(all)
  for (let count = random.below(8); count > 0; count--) {
    const index = random.below(peers.length)
    const { flavour, sent } = peers[index]
    const some = sent.filter(() => random.oneIn(2))
    if (some.length === 0) continue
    const merged = flavour.library.mergeUpdates(random.shuffle(some))
    const known = vector(random.pick(peers))
    const update = [
      () => merged,
      () => flavour.library.diffUpdate(merged, known),
      () => state(peers[index], known),
      () => state(peers[index])
    ][random.below(4)]()
    all.splice(random.below(all.length + 1), 0, { peer: index, update })
  }
  return all
}

export class History {
  constructor (seed) {
    const random = new Random(seed)
    const flavours = random.pick([[yjs13], [yjs13], [yjs14], [yjs13, yjs14]])
    // Yjs 13 does not show everything that Yjs 14 makes: types without a name, attributes that are no text.
    this.views = flavours.includes(yjs14) ? [yjs14] : [yjs13, yjs14]
    this.peers = Array.from({ length: 2 + random.below(3) }, () => peer(random, random.pick(flavours)))
    for (let count = 10 + random.below(40); count > 0; count--) step(random, this.peers)
    this.deliveries = deliveries(random, this.peers)
  }

  step2 (peer, vector) {
    return state(this.peers[peer], vector)
  }

  // Whether a full state shows in Yjs what all clients together show, and what that is in Yjs 13.
  compare (full) {
    // Pending parts of one client are met by another, whatever comes first.
    const states = [...this.peers, ...this.peers].map(peer => state(peer))
    for (const flavour of this.views) {
      const show = updates => {
        const doc = flavour.create(new Random(0), 1)
        updates.forEach(update => flavour.library.applyUpdate(doc, update))
        return canonical(flavour.view(doc))
      }
      const wanted = show(states)
      const got = show([full])
      if (wanted !== got) return { same: false, wanted, got }
    }
    if (!this.views.includes(yjs13)) return { same: true }
    const doc = new Y.Doc()
    Y.applyUpdate(doc, full)
    const { text, map, array, docs, docList } = yjs13.view(doc)
    return { same: true, text, map, array, docs, docList }
  }
}

const canonical = value => JSON.stringify(value, (_key, inner) =>
  inner !== null && typeof inner === 'object' && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort())
    : inner)
