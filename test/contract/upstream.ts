/** A provider that keeps the contract as a script can: it says the same words to everyone, one token each, and honours what changes them. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Surroundings } from '../gateway/harness.ts'
import type { Json } from './server.ts'

const WORDS = ['One,', ' two,', ' three,', ' four,', ' five,', ' six,', ' seven.']
const PROMPT_TOKENS = 7

export async function startUpstream (t: Pick<Surroundings, 'teardown'>): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body: Json = JSON.parse(Buffer.concat(parts).toString())
    if (request.url === '/v1/chat/completions') chat(body, response)
    else if (request.url === '/v1/embeddings') send(response, 200, vectors(body))
    else if (request.url === '/v1/completions') completion(body, response)
    else send(response, 404, { error: { message: `There is no ${request.url}.`, type: 'invalid_request_error', param: null, code: null } })
  })
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

/** An instance that fits, of the schemas that the checks have. */
function instanceOf (schema: Json): Json {
  if (schema?.enum !== undefined) return schema.enum[0]
  if (schema?.const !== undefined) return schema.const
  if (schema?.anyOf !== undefined) return null
  if (schema?.type === 'array') return []
  if (schema?.type === 'integer') return 5
  if (schema?.type === 'string') return 'it'
  return Object.fromEntries(Object.entries(schema?.properties ?? {}).map(([name, member]) => [name, instanceOf(member)]))
}

/** The pieces of what is said, after stop and max_tokens, and why they end. */
function cut (pieces: readonly string[], body: Json): { pieces: string[], finish: string } {
  const most: number = body.max_completion_tokens ?? body.max_tokens ?? Infinity
  const text = pieces.join('')
  const ends = [body.stop ?? []].flat().map((stop: string) => text.indexOf(stop)).filter(at => at >= 0)
  const kept: string[] = []
  let length = 0
  for (const piece of pieces) {
    if (kept.length >= most) return { pieces: kept, finish: 'length' }
    const left = Math.min(...ends, Infinity) - length
    if (left <= piece.length && ends.length > 0) return { pieces: left > 0 ? [...kept, piece.slice(0, left)] : kept, finish: 'stop' }
    kept.push(piece)
    length += piece.length
  }
  return { pieces: kept, finish: 'stop' }
}

function called (body: Json): Json | undefined {
  const tools: Json[] = body.tools ?? []
  const allowed = body.tool_choice?.allowed_tools
  const named = body.tool_choice?.function?.name ?? (allowed?.mode === 'required' ? allowed.tools[0].function.name : undefined)
  const tool = tools.find(one => one.function.name === named) ?? (body.tool_choice === 'required' ? tools[0] : undefined)
  return tool === undefined ? undefined : { id: 'call_1', type: 'function', function: { name: tool.function.name, arguments: JSON.stringify(instanceOf(tool.function.parameters)) } }
}

/** What it does not do, and says so. */
function refusalOf (body: Json): string | undefined {
  const { type, schema, json_schema: named } = body.response_format ?? {}
  if (named?.schema.type === 'nothing' || (type === 'json_object' && schema !== undefined)) return 'response_format'
  return body.functions === undefined ? undefined : 'functions'
}

function chat (body: Json, response: ServerResponse): void {
  const refused = refusalOf(body)
  if (refused !== undefined) {
    send(response, 400, { error: { message: `${refused} is not taken.`, type: 'invalid_request_error', param: refused, code: 'unsupported_parameter' } })
    return
  }
  const call = called(body)
  const schema = body.response_format?.type === 'json_schema' ? body.response_format.json_schema.schema : {}
  const isJson = (body.response_format?.type ?? 'text') !== 'text'
  const { pieces, finish } = call === undefined ? cut(isJson ? JSON.stringify(instanceOf(schema)).split(/(?<=[,:{])/) : WORDS, body) : { pieces: [], finish: 'tool_calls' }
  const count = body.n ?? 1
  const head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: 'script' }
  const written = Math.max(1, pieces.length) * count
  const usage = { prompt_tokens: PROMPT_TOKENS, completion_tokens: written, total_tokens: PROMPT_TOKENS + written, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } }
  const logprobs = body.logprobs === true ? { content: pieces.map(token => likely(token, body.top_logprobs ?? 0)), refusal: null } : null
  if (body.stream !== true) {
    const message = { role: 'assistant', content: call === undefined ? pieces.join('') : null, refusal: null, ...call === undefined ? {} : { tool_calls: [call] } }
    const choices = Array.from({ length: count }, (_, index) => ({ index, message, logprobs, finish_reason: finish }))
    send(response, 200, { ...head, object: 'chat.completion', choices, usage })
    return
  }
  const isCounted = body.stream_options?.include_usage === true
  const write = (choices: Json[], more: Json = isCounted ? { usage: null } : {}) => { response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...more })}\n\n`) }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (let index = 0; index < count; index++) {
    const say = (delta: Json, end: string | null = null) => { write([{ index, delta, logprobs: null, finish_reason: end }]) }
    say({ role: 'assistant', content: '' })
    for (const content of pieces) say({ content })
    if (call !== undefined) {
      say({ tool_calls: [{ index: 0, ...call, function: { ...call.function, arguments: '' } }] })
      for (const part of call.function.arguments.split(/(?<=,)/)) say({ tool_calls: [{ index: 0, function: { arguments: part } }] })
    }
    say({}, finish)
  }
  if (isCounted) write([], { usage })
  response.end('data: [DONE]\n\n')
}

const likely = (token: string, top: number): Json => {
  const one = { token, logprob: -0.1, bytes: [...Buffer.from(token)] }
  return { ...one, top_logprobs: [one, { token: '?', logprob: -3, bytes: [63] }].slice(0, top) }
}

function completion (body: Json, response: ServerResponse): void {
  const prompts: Json[] = Array.isArray(body.prompt) ? body.prompt : [body.prompt]
  const { pieces, finish } = cut(WORDS, { max_tokens: 16, ...body })
  const head = { id: `cmpl-${crypto.randomUUID()}`, object: 'text_completion', created: Math.floor(Date.now() / 1000), model: 'script' }
  const written = pieces.length * prompts.length
  const usage = { prompt_tokens: PROMPT_TOKENS, completion_tokens: written, total_tokens: PROMPT_TOKENS + written }
  if (body.stream !== true) {
    send(response, 200, { ...head, choices: prompts.map((_, index) => ({ index, text: pieces.join(''), logprobs: null, finish_reason: finish })), usage })
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const text of pieces) response.write(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, text, logprobs: null, finish_reason: null }] })}\n\n`)
  response.write(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, text: '', logprobs: null, finish_reason: finish }] })}\n\n`)
  if (body.stream_options?.include_usage === true) response.write(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\n`)
  response.end('data: [DONE]\n\n')
}

/** A vector of an input: the same for the same, another for another. */
function vectors (body: Json): Json {
  const inputs: Json[] = Array.isArray(body.input) && typeof body.input[0] !== 'number' ? body.input : [body.input]
  const data = inputs.map((input, index) => {
    const text = JSON.stringify(input)
    const vector = Float32Array.from({ length: 8 }, (_, at) => Math.sin(at + text.charCodeAt(at % text.length) * text.length))
    return { object: 'embedding', index, embedding: body.encoding_format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector] }
  })
  return { object: 'list', data, model: 'script', usage: { prompt_tokens: inputs.length, total_tokens: inputs.length } }
}

function send (response: ServerResponse, status: number, body: Json): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
