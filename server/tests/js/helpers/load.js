/** Writers and witnesses at full tilt, for tests that end the server under them. */
import * as Y from 'yjs'
import * as decoding from 'lib0/decoding'
import { Wire, bytes, probe, read, step1, update } from './wire.js'
import { sleep } from './wait.js'

/** Edits a writer sends before it lets others have the processor. */
const EDITS_PER_TURN = 20

/** Unanswered probes after which a writer waits: bounds what is in flight. */
const IN_FLIGHT_MAX = 400

/** Sends one map entry per update, each followed by a probe, until its socket dies. */
export class Writer {
  constructor (server, document, name) {
    this.server = server
    this.document = document
    this.name = name
    this.sent = 0
    this.acknowledged = 0
    this.wire = null
  }

  key (edit) {
    return `${this.name}-${edit}`
  }

  async run () {
    const doc = new Y.Doc()
    const map = doc.getMap('m')
    this.wire = await new Wire(this.server, this.document).openOrClosed()
    doc.on('update', bytes => this.wire.send(update(bytes)))
    while (this.wire.closed === null) {
      if (this.sent - this.acknowledged < IN_FLIGHT_MAX) {
        for (let edit = 0; edit < EDITS_PER_TURN; edit++) {
          map.set(this.key(++this.sent), this.sent)
          this.wire.send(probe(this.sent))
        }
      }
      this.#listen()
      await sleep(1)
    }
    this.#listen()
  }

  #listen () {
    this.acknowledged = Math.max(this.acknowledged, this.wire.savedVersion())
    this.wire.frames.length = 0
  }
}

/** Collects the keys of every change that the server relayed to it, until its socket dies. */
export class Witness {
  constructor (server, document) {
    this.server = server
    this.document = document
    this.doc = new Y.Doc()
    this.wire = null
  }

  async run () {
    this.wire = await new Wire(this.server, this.document).openOrClosed()
    if (this.wire.closed === null) this.wire.send(step1(this.doc))
    while (this.wire.closed === null) {
      this.#listen()
      await sleep(1)
    }
    this.#listen()
  }

  #listen () {
    for (const frame of this.wire.frames.splice(0)) {
      const decoder = decoding.createDecoder(bytes(frame))
      if (decoding.readVarUint(decoder) !== 0 || decoding.readVarUint(decoder) === 0) continue
      Y.applyUpdate(this.doc, decoding.readVarUint8Array(decoder))
    }
  }

  get seen () {
    return [...this.doc.getMap('m').keys()]
  }
}

/** Everything that is in a document for a newcomer. */
export async function stored (server, document) {
  return new Set((await read(server, document)).getMap('m').keys())
}
