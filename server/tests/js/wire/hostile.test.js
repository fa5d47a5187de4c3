/** Hostile input ends its own session with a final code, and no other session notices. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CLIENTS, converged, join } from '../helpers/clients.js'
import { sharedServer } from '../helpers/server.js'
import { until } from '../helpers/wait.js'
import { frame, hex, update, wire } from '../helpers/wire.js'

/** `--frame-bytes-max` of the server under test. */
const FRAME_BYTES_MAX = 128 * 1024

const nested = [1, 1, 5, 0, 8, 1, 1, 97, 1, ...Array(8000).fill([117, 1]).flat(), 126, 0]

/** What the server must refuse, each in a session of its own: `field/libraries.md` B6 and kin. */
const HOSTILE = {
  'a type that does not end': 'ffffffffffffffffffffff01',
  'a type beyond the dialect': '07',
  'a sync message without a kind': '00',
  'a sync message of a fourth kind': '000300',
  'an update shorter than it says': '00020c0101',
  'an update of absurd length': '0002ffffffff0f',
  'an update longer than it says': hex(frame(0, 2)) + '0100ff',
  'an update with absurd counts': hex(update([0x80, 0xc2, 0xd7, 0x2f])),
  'an update that is noise': hex(update([9, 8, 7, 6, 5, 4, 3, 2, 1])),
  'an update of 8000 nested arrays': hex(update(nested)),
  'an update that bricks yrs': hex(update([1, 2, 3, 11, 2, 3, 11, 39, 1, 1, 109, 4, 110, 127, 115,
    116, 1, 40, 0, 3, 11, 1, 122, 1, 125, 1, 0])),
  'an update with one client twice': hex(update(Buffer.from('020402000701017803017007000200060400' +
    '020103686579280002000163017701640102002801016d026b30017b41d3cf39c380000b0000', 'hex'))),
  'a state vector of absurd size': hex(frame(0, 0, [255, 255, 255, 122])),
  'a state vector cut short': hex(frame(0, 0, [2, 1, 1])),
  'presence of absurd size': hex(frame(1, [255, 255, 255, 122])),
  'presence cut short': hex(frame(1, [1, 1, 1, 20, 123])),
  'presence that is not JSON': hex(frame(1, [1, 1, 1, 3, 0x7b, 0x7b, 0x7b])),
  'presence that is not UTF-8': hex(frame(1, [1, 1, 1, 3, 0x22, 0xff, 0x22])),
  'a probe without a version': '66',
  'a probe of a version that does not end': hex(frame(102, Array(11).fill(0xff)))
}

const isFinal = code => code >= 4400 && code < 4500

describe('hostile frames', () => {
  const server = sharedServer(
    ['--document-bytes-max', '64KiB', '--frame-bytes-max', String(FRAME_BYTES_MAX)])

  for (const [what, bytes] of Object.entries(HOSTILE)) {
    test(`${what} is refused with a final code and a reason, and its neighbours go on`, async t => {
      const document = encodeURIComponent(what)
      const [one, two] = [await join(t, CLIENTS[0], server, document), await join(t, CLIENTS[2], server, document)]
      const attacker = await wire(t, server, document)
      attacker.send(bytes)
      const { code, reason } = await attacker.ended()
      assert.ok(isFinal(code), `closed with ${code} ${reason}`)
      assert.ok(reason.length > 0, 'closed with a reason')
      one.append('.')
      await converged(one, two)
      assert.deepEqual([one.closes, two.closes], [0, 0], 'no neighbour lost its connection')
    })
  }

  test('text frames are refused', async t => {
    const attacker = await wire(t, server, 'text')
    attacker.sendText('hello')
    const { code, reason } = await attacker.ended()
    assert.ok(isFinal(code), `closed with ${code} ${reason}`)
  })

  test('a frame over the limit is refused before it is taken in', async t => {
    const honest = await join(t, CLIENTS[0], server, 'large')
    const attacker = await wire(t, server, 'large')
    attacker.send(Buffer.alloc(FRAME_BYTES_MAX + 1))
    const { code, reason } = await attacker.ended()
    assert.ok(isFinal(code), `closed with ${code} ${reason}`)
    assert.equal(honest.closes, 0)
  })

  test('what was accepted before the hostile frame stays', async t => {
    const attacker = await wire(t, server, 'before')
    attacker.send('00020c010101000401017402686900')
    attacker.send('00020c0101')
    await attacker.ended()
    const reader = await join(t, CLIENTS[1], server, 'before')
    assert.equal(reader.text, 'hi')
  })

  test('a document at its size limit stays readable and keeps its sessions', async t => {
    const [writer, reader] = [await join(t, CLIENTS[0], server, 'full'), await join(t, CLIENTS[1], server, 'full')]
    for (let part = 0; part < 12; part++) writer.append(String(part % 10).repeat(8 * 1024))
    await until('what fits is there', () => reader.text.length >= 32 * 1024)
    const late = await join(t, CLIENTS[0], server, 'full')
    await converged(reader, late)
    assert.ok(late.text.length >= 32 * 1024, 'what fitted is there')
    assert.ok(late.text.length < 96 * 1024, 'what did not fit is not')
    assert.equal(reader.closes, 0)
    assert.equal(writer.closes, 0)
  })
})
