/** Tokens that a server with `--auth-secret` believes. */
import { createHmac } from 'node:crypto'

/** Shared by the test and its server. */
export const SECRET = 'a secret of the tests that is long enough for HS256'

/** The flags of a server that lets in only those with a token. */
export const AUTHENTICATING = ['--auth-secret', SECRET]

const part = value => Buffer.from(value).toString('base64url')

/**
 * A JSON Web Token.
 *
 * @param {Record<string, 'read' | 'comment' | 'write' | 'admin'>} documents patterns of names to rights
 * @param {{ subject?: string, lifetimeSeconds?: number, secret?: string }} [options]
 */
export function token (documents, { subject = 'ada', lifetimeSeconds = 3600, secret = SECRET } = {}) {
  const now = Math.floor(Date.now() / 1000)
  const claims = { sub: subject, iat: now, exp: now + lifetimeSeconds, 'driftless.docs': documents }
  const signed = `${part(JSON.stringify({ alg: 'HS256', typ: 'JWT' }))}.${part(JSON.stringify(claims))}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
