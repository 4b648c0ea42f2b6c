/** What the gateway's own description of its API says of an answer. */
import { Ajv2020 } from 'ajv/dist/2020.js'

interface Content { readonly schema?: { readonly $ref: string }, readonly itemSchema?: { readonly $ref: string } }
interface Description { readonly paths: Readonly<Record<string, { readonly post: { readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, Content>> }>> } }>> }

/** @returns what is wrong with an answer to a POST, '' where nothing is; of a stream, each event is looked at */
export type Judge = (path: string, status: number, type: string, body: string) => string

export async function judgeOf (url: string): Promise<Judge> {
  const description = await (await fetch(`${url}/openapi.json`)).json() as Description
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addSchema(description, 'api')
  const wrong = (reference: string, value: unknown): string => {
    const validate = ajv.getSchema(`api${reference}`)!
    return validate(value) ? '' : `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}\n`
  }
  return (path, status, type, body) => {
    const { content } = description.paths[path]!.post.responses[status === 200 ? '200' : 'default']!
    if (!type.startsWith('text/event-stream')) return wrong(content['application/json']!.schema!.$ref, JSON.parse(body))
    const events = [...body.matchAll(/^data: (\{.*)$/gm)]
    return events.map(([, data]) => wrong(content['text/event-stream']!.itemSchema!.$ref, JSON.parse(data!))).join('')
  }
}
