/** Exits 0 when the gateway of this container is ready, 1 otherwise. Finds the admin listener as the gateway does: ADMIN_HOST, ADMIN_PORT. */
import { get } from 'node:http'

const TIMEOUT_MS = 3000
const { ADMIN_HOST = '', ADMIN_PORT = '' } = process.env
// Linux takes 0.0.0.0 and :: for loopback when it connects.
const host = ADMIN_HOST.trim() || '127.0.0.1'
const port = ADMIN_PORT.trim() || '9464'
const request = get({ host, port, path: '/readyz', signal: AbortSignal.timeout(TIMEOUT_MS) }, response => {
  process.exitCode = response.statusCode === 200 ? 0 : 1
  // Its few lines say which part is missing; they are what `docker inspect` shows.
  response.pipe(process.stdout)
  response.on('error', fail)
})
request.on('error', fail)

function fail ({ message }: Error): void {
  process.stderr.write(`http://${host}:${port}/readyz: ${message}\n`)
  process.exitCode = 1
}
