/** Hocuspocus with its defaults: `node server.mjs PORT [FOLDER]`; with a folder it stores in SQLite. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { SQLite } from '@hocuspocus/extension-sqlite'
import { Server } from '@hocuspocus/server'

const [port, folder] = process.argv.slice(2)
const extensions = []
if (folder) {
  mkdirSync(folder, { recursive: true })
  extensions.push(new SQLite({ database: join(folder, 'db.sqlite') }))
}
await new Server({ address: '127.0.0.1', port: Number(port), quiet: true, extensions }).listen()
