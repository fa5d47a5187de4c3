/** A bare WebSocket peer that sends and receives frames as hex, for what providers never do. */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import { until } from './wait.js'

export const hex = bytes => Buffer.from(bytes).toString('hex')
export const bytes = text => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** `protocols.md` 2.6 names them so: yjs 13, client 1, text "t" = "hi". */
export const GOLDEN = {
  step1Empty: '00000100',
  step1: '000003010102',
  step2: '00010c010101000401017402686900',
  step2Empty: '0001020000',
  update: '00020c010101000401017402686900',
  awareness: '010b010101077b226e223a317d',
  awarenessEmpty: '010100',
  queryAwareness: '03',
  saved5: '660105'
}

/** A frame of numbers, and of byte strings with their length in front. */
export function frame (...parts) {
  const encoder = encoding.createEncoder()
  for (const part of parts) {
    if (typeof part === 'number') encoding.writeVarUint(encoder, part)
    else encoding.writeVarUint8Array(encoder, Uint8Array.from(part))
  }
  return encoding.toUint8Array(encoder)
}

export const step1 = doc => frame(0, 0, Y.encodeStateVector(doc))
export const update = bytes => frame(0, 2, bytes)
export const probe = version => frame(102, frame(version))

/** A connection to `/ws/{document}`; `document` is sent raw, as it is given. */
export class Wire {
  constructor (server, document, headers = {}) {
    /** Frames received, as hex, oldest first. */
    this.frames = []
    /** @type {{ code: number, reason: string } | null} */
    this.closed = null
    /** The status of a refused upgrade. */
    this.refused = null
    this.socket = new WebSocket(server.url, {
      headers,
      // Past every client's normalising of dots and escapes.
      finishRequest: request => {
        request.path = `/ws/${document}`
        request.end()
      }
    })
    this.socket.on('message', (data, isBinary) => this.frames.push(isBinary ? hex(data) : `text ${data}`))
    this.socket.on('close', (code, reason) => { this.closed = { code, reason: String(reason) } })
    this.socket.on('unexpected-response', (request, response) => {
      this.refused = response.statusCode
      request.destroy()
    })
    this.socket.on('error', () => {})
  }

  send (data) {
    this.socket.send(typeof data === 'string' ? bytes(data) : data)
  }

  sendText (text) {
    this.socket.send(text, { binary: false })
  }

  async open () {
    if (this.socket.readyState === WebSocket.CONNECTING) await once(this.socket, 'open')
    return this
  }

  /** Resolves when it is open, or will never be. */
  async openOrClosed () {
    await until('it is open or closed', () => this.closed !== null || this.socket.readyState === WebSocket.OPEN)
    return this
  }

  /** Resolves with the first frame, from the `from`th on, for which `matches` holds. */
  next (what, matches, from = 0) {
    return until(
      `${what} arrives`,
      () => this.frames.slice(from).find(matches),
      undefined,
      () => `; had ${JSON.stringify(this.frames.slice(-8))}, closed ${JSON.stringify(this.closed)}`
    )
  }

  /** Resolves when exactly this frame has arrived, at or after the `from`th. */
  expect (wanted, from = 0) {
    return this.next(`frame ${wanted}`, frame => frame === wanted, from)
  }

  /** Resolves when the server has answered version `version` of a type 102 probe, or a later one. */
  saved (version) {
    return until(`version ${version} is saved`, () => this.savedVersion() >= version, undefined,
      () => `; closed ${JSON.stringify(this.closed)}`)
  }

  /** The highest version answered so far, 0 before the first. */
  savedVersion () {
    let highest = 0
    for (const frame of this.frames) {
      if (!frame.startsWith('66')) continue
      const decoder = decoding.createDecoder(bytes(frame))
      decoding.readVarUint(decoder)
      const payload = decoding.createDecoder(decoding.readVarUint8Array(decoder))
      highest = Math.max(highest, decoding.readVarUint(payload))
    }
    return highest
  }

  /** Resolves when the other side has closed, or never let us in. */
  ended () {
    return until('the server closes', () => this.closed ?? (this.refused && { code: this.refused }))
  }

  destroy () {
    this.socket.terminate()
  }
}

/**
 * An open wire that is cut when the test ends.
 *
 * @param {import('node:test').TestContext} t
 */
export async function wire (t, server, document) {
  const wire = new Wire(server, document)
  t.after(() => wire.destroy())
  return wire.open()
}

/** The document as a newcomer gets it: a step 2 for an empty state vector. */
export async function read (server, document) {
  const wire = await new Wire(server, document).open()
  try {
    wire.send(GOLDEN.step1Empty)
    const doc = new Y.Doc()
    await until(`step 2 of ${document}`, () => {
      while (wire.frames.length > 0) {
        const decoder = decoding.createDecoder(bytes(wire.frames.shift()))
        if (decoding.readVarUint(decoder) !== 0) continue
        const kind = decoding.readVarUint(decoder)
        if (kind === 0) continue
        Y.applyUpdate(doc, decoding.readVarUint8Array(decoder))
        if (kind === 1) return true
      }
      return false
    }, undefined, () => `; closed ${JSON.stringify(wire.closed)}`)
    return doc
  } finally {
    wire.destroy()
  }
}
