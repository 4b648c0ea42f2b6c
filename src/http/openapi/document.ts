/** The routes there are, as an OpenAPI 3.1 document. */
import type { Schema } from '../../wire/schema.ts'
import { ANSWERS, type AnswerName } from './answers.ts'
import { ROUTES, type About } from './routes.ts'

export interface Registered {
  readonly method: string
  /** As Fastify has it: `/v1/files/:id`. */
  readonly url: string
  readonly isPublic: boolean
  /** Its errors have Anthropic's shape. */
  readonly isAnthropic: boolean
}

/** Says nothing of this installation: neither its version nor its models. */
export function documentOf (routes: readonly Registered[]): Schema {
  const paths: Record<string, Record<string, Schema>> = {}
  for (const route of routes) (paths[templateOf(route.url)] ??= {})[route.method.toLowerCase()] = operationOf(route)
  return {
    openapi: '3.1.1',
    info: { title: 'torchgate', version: 'v1', description: 'An OpenAI-compatible inference gateway. Where a body has members that stand not here, docs/api.md says what becomes of them.' },
    security: [{ bearer: [] }, { apiKey: [] }],
    paths,
    components: {
      schemas: ANSWERS,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' } }
    }
  }
}

export function keyOf ({ method, url }: Pick<Registered, 'method' | 'url'>): string { return `${method} ${url}` }

/** A wildcard is the name of a model. */
export function templateOf (url: string): string { return url.replace(/:(\w+)/g, '{$1}').replace('*', '{model}') }

function operationOf (route: Registered): Schema {
  const about: About = ROUTES[keyOf(route)] ?? { says: '', answer: 'Object' }
  return {
    summary: about.says,
    ...parametersOf(route.url, about.query ?? []),
    ...bodyOf(about),
    responses: { 200: answerOf(about), default: { description: 'An error.', content: json(reference(route.isAnthropic ? 'MessagesError' : 'Error')) } },
    ...route.isPublic && { security: [] }
  }
}

function parametersOf (url: string, query: readonly string[]): Schema {
  const inPath = [...templateOf(url).matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
  const all = [...inPath, ...query.map(name => ({ name, in: 'query', schema: { type: 'string' } }))]
  return all.length === 0 ? {} : { parameters: all }
}

function bodyOf ({ body, form }: About): Schema {
  if (body !== undefined) return { requestBody: { required: true, content: json(body()) } }
  if (form === undefined) return {}
  return { requestBody: { required: true, content: { 'multipart/form-data': { schema: { type: 'object', properties: form } } } } }
}

function answerOf ({ answer, events }: About): Schema {
  const whole = typeof answer === 'string' ? json(reference(answer)) : { [answer.media]: {} }
  return { description: 'The answer.', content: { ...whole, ...events !== undefined && { 'text/event-stream': { itemSchema: reference(events) } } } }
}

function json (schema: Schema): Schema { return { 'application/json': { schema } } }
function reference (name: AnswerName): Schema { return { $ref: `#/components/schemas/${name}` } }
