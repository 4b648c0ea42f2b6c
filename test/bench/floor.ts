/** The floor of Node: Fastify in front, an undici pool behind, the body parsed, the bytes forwarded, and nothing else. */
import Fastify from 'fastify'
import { Pool } from 'undici'

const upstream = new Pool(`http://127.0.0.1:${process.argv[2]}`, { connections: 256 })
const server = Fastify()

server.post('/v1/chat/completions', async (request, reply) => {
  const { statusCode, headers, body } = await upstream.request({
    method: 'POST', path: '/v1/chat/completions', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request.body)
  })
  reply.code(statusCode).header('content-type', headers['content-type'])
  if ((request.body as { stream?: boolean }).stream === true) return reply.send(body)
  return reply.send(Buffer.from(await body.arrayBuffer()))
})

process.stdout.write(`${await server.listen({ port: 0, host: '127.0.0.1' })}\n`)
