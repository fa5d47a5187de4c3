/** Runs the real binary on folders of its own. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import * as Y from 'yjs'
import { content } from './documents.js'

const binary = process.env.DRIFTLESS_BIN
if (!binary) {
  throw new Error('DRIFTLESS_BIN must be the path of the driftless binary; cargo test sets it')
}

/** Settings of the surroundings would change what is tested. */
export const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('DRIFTLESS_')))

const PATIENCE_MS = 60_000

/** A folder that is gone when the test ends. @param {import('node:test').TestContext} t */
export async function folder (t) {
  const made = await mkdtemp(path.join(os.tmpdir(), 'driftless-import-'))
  t.after(() => rm(made, { recursive: true, force: true }))
  return made
}

/** @returns {Promise<{ code: number, stdout: Buffer, stderr: string }>} */
export function run (...words) {
  return new Promise(resolve => {
    const options = { env, timeout: PATIENCE_MS, encoding: /** @type {'buffer'} */ ('buffer') }
    execFile(binary, words, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr: stderr.toString() })
    })
  })
}

/** Imports, and gives the report with the exit code. */
export async function imported (data, ...words) {
  const { code, stdout, stderr } = await run('import', ...words, '--json', '--data', data)
  const report = stdout.length > 0 ? JSON.parse(stdout.toString()) : null
  return { code, report, stderr }
}

/** What the store holds of a document. */
export async function stored (data, name) {
  const { code, stdout, stderr } = await run('doc', 'export', name, '--data', data)
  if (code !== 0) throw new Error(`${name}: ${stderr}`)
  return content(new Uint8Array(stdout))
}

/** What a document holds. */
export function held (doc) {
  return content(Y.encodeStateAsUpdate(doc))
}
