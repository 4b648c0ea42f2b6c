/** A reader of Messages streams that is stricter than any client: the order of events, their indexes, and what they add up to. */
import { equal, ok } from 'node:assert/strict'

type Members = Record<string, unknown>

export interface Message extends Members { content: Members[], usage: Members }

/** Every event of the text; its `event:` line must say its type. */
export function parsed (text: string): Members[] {
  return text.split('\n\n').slice(0, -1).map(block => {
    const [, name, data] = /^event: (\w+)\ndata: (.+)$/.exec(block)!
    const event = JSON.parse(data!) as Members
    equal(event['type'], name)
    return event
  })
}

/** The message that the events add up to. @throws AssertionError where they are out of order */
export function messageOf (events: readonly Members[]): Message {
  const [start, ...rest] = events.filter(({ type }) => type !== 'ping')
  equal(start!['type'], 'message_start')
  const message = structuredClone(start!['message'] as Message)
  let open: Members | null = null
  let json = ''
  for (const event of rest.slice(0, -2)) {
    if (event['type'] === 'content_block_start') {
      equal(open, null, 'one block at a time')
      equal(event['index'], message.content.length)
      open = { ...event['content_block'] as Members }
      json = ''
      message.content.push(open)
      continue
    }
    ok(open !== null, 'a block is open')
    equal(event['index'], message.content.length - 1)
    if (event['type'] === 'content_block_stop') {
      if (open['type'] === 'tool_use') open['input'] = JSON.parse(json || '{}')
      open = null
      continue
    }
    equal(event['type'], 'content_block_delta')
    const { type, ...piece } = event['delta'] as Record<string, string>
    if (type === 'input_json_delta') json += piece['partial_json']!
    else {
      const kind = open['type'] as string
      equal(type, `${kind}_delta`)
      open[kind] = (open[kind] as string) + piece[kind]!
    }
  }
  equal(open, null, 'every block was closed')
  const [delta, stop] = rest.slice(-2)
  equal(delta!['type'], 'message_delta')
  equal(stop!['type'], 'message_stop')
  return Object.assign(message, delta!['delta'], { usage: delta!['usage'] as Members })
}
