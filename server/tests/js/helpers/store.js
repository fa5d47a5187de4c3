/** Makes the embedded database of a server stand still, from outside, as a second process can. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { until } from './wait.js'

/** The commit in progress ends within this time. */
const BUSY_MS = 10_000

/**
 * Takes the write lock of the server's database: reads go on, commits wait.
 *
 * @param {import('node:test').TestContext} t
 * @param {import('./server.js').Server} server
 * @returns {Promise<{ release: () => Promise<void> }>}
 */
export async function holdStore (t, server) {
  const shell = spawn('sqlite3', ['-bail', path.join(server.data, 'driftless.db')])
  let said = ''
  for (const stream of [shell.stdout, shell.stderr]) stream.on('data', chunk => { said += chunk })
  shell.on('error', error => { said += error })
  shell.stdin.on('error', () => {})
  const release = async () => {
    if (shell.exitCode !== null || shell.signalCode !== null || shell.pid === undefined) return
    shell.kill('SIGKILL')
    await once(shell, 'exit')
  }
  t.after(release)
  shell.stdin.write(`.timeout ${BUSY_MS}\nBEGIN IMMEDIATE;\nSELECT 'held';\n`)
  await until('the store is held', () => said.includes('held'), BUSY_MS, () => said)
  return { release }
}
