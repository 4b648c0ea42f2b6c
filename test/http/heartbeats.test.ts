import { createServer, request, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { Heartbeats } from '../../src/http/heartbeats.ts'
import { HttpOutlet } from '../../src/http/outlet.ts'
import { Call } from '../../src/pipeline/call.ts'
import { eventually } from '../gateway/harness.ts'

const outletOf = (response: ServerResponse) => new HttpOutlet(response, new Call('req_1', 'messages', []), new AbortController().signal, () => ({}))

/** A server whose every request is a stream that waits. */
async function waiting (t: Test, onStream: (outlet: HttpOutlet, response: ServerResponse) => void): Promise<number> {
  const server = createServer((_request, response) => { onStream(outletOf(response), response) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

test('a stream that is over hears nothing more, and its place goes to another', async t => {
  const heartbeats = new Heartbeats(20)
  const heard: string[] = []
  const streams = ['a', 'b', 'c'].map(name => {
    const inner = { bytesWritten: 0 } as unknown as HttpOutlet
    return heartbeats.watch(inner, { beat: () => heard.push(name) } as never)!
  })
  heartbeats.leave(streams[0]!)
  heartbeats.leave(streams[0]!)
  t.ok(await eventually(() => new Set(heard).size === 2))
  t.same([...new Set(heard)].toSorted(), ['b', 'c'])
  for (const stream of streams) heartbeats.leave(stream)
  heard.length = 0
  await wait(60)
  t.same(heard, [])
  heartbeats.watch({ bytesWritten: 0 } as never, { beat: () => heard.push('d') } as never)
  t.ok(await eventually(() => heard.length > 0), 'and the clock starts anew')
})

test('one that cannot be told anything does not keep the others from it', async t => {
  const heartbeats = new Heartbeats(20)
  let [tries, heard] = [0, 0]
  const inner = { bytesWritten: 0 } as unknown as HttpOutlet
  for (let i = 0; i < 3; i++) {
    heartbeats.watch(inner, { beat: () => { tries++; throw new TypeError('Invalid character in header content') } } as never)
    heartbeats.watch(inner, { beat: () => { heard++ } } as never)
  }
  t.ok(await eventually(() => heard >= 6))
  t.equal(tries, 3)
})

test('a caller that does not read gets no more, so nothing piles up and it can be cut off', async t => {
  const heartbeats = new Heartbeats(10)
  const opened = Promise.withResolvers<ServerResponse>()
  const port = await waiting(t, (outlet, response) => {
    outlet.begin()
    void outlet.frame(Buffer.alloc(50_000_000, 32))
    heartbeats.watch(outlet, outlet)
    opened.resolve(response)
  })
  const caller = request({ port, host: '127.0.0.1', agent: false })
  t.teardown(() => caller.destroy())
  caller.on('error', () => {})
  caller.on('response', response => { response.pause() })
  caller.end()
  const response = await opened.promise
  await wait(100)
  const { writableLength } = response
  t.ok(writableLength > 0)
  await wait(100)
  t.equal(response.writableLength, writableLength)
})

test('an answer behind another one on the same connection hears nothing before its turn', async t => {
  const heartbeats = new Heartbeats(10)
  const streams: HttpOutlet[] = []
  const port = await waiting(t, outlet => {
    streams.push(outlet)
    heartbeats.watch(outlet, outlet)
  })
  const caller = connect(port, '127.0.0.1')
  t.teardown(() => caller.destroy())
  let text = ''
  caller.on('data', bytes => { text += bytes.toString() })
  caller.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(2))
  t.ok(await eventually(() => streams.length === 2 && text.includes(': waiting')))
  t.equal(streams[1]!.begun, false)
  t.equal(text.split('HTTP/1.1 200').length, 2)
  streams[0]!.end()
  t.ok(await eventually(() => text.split('HTTP/1.1 200').length === 3 && text.endsWith(': waiting\n\n\r\n')))
  t.match(text.slice(text.lastIndexOf('HTTP/1.1')), /: waiting/)
})
