/** A fault that was found in the chat which a message became, told of what the caller sent. */
import { GatewayError } from '../../errors.ts'
import type { Members } from '../check.ts'

/** Path in a chat completion -> path in a Messages request. What stands behind it is the same in both. */
const PLACES: ReadonlyArray<readonly [RegExp, string]> = [
  [/^max_(?:completion_)?tokens/, 'max_tokens'],
  [/^stop/, 'stop_sequences'],
  [/^reasoning_effort/, 'output_config.effort'],
  [/^response_format\.json_schema\.schema/, 'output_config.format.schema'],
  [/^tools\[(\d+)\]\.function\.parameters/, 'tools[$1].input_schema'],
  [/^tools\[(\d+)\]\.function\./, 'tools[$1].']
]
const MESSAGE = /^messages\[(\d+)\](?:\.content\[(\d+)\])?/

/**
 * @param chat what the request became
 * @param body as the caller sent it
 * @returns the same error where its parameter has the same name in both
 */
export function blamed (error: unknown, chat: Members, body: Members): unknown {
  if (!(error instanceof GatewayError) || error.param === null || error.constructor !== GatewayError) return error
  const { code, cause, retryAfterS, upstream, param } = error
  const path = placeOf(param, chat, body)
  return path === param ? error : new GatewayError(code, error.message.replaceAll(param, path), { param: path, cause, retryAfterS, upstream })
}

function placeOf (param: string, chat: Members, body: Members): string {
  if (MESSAGE.test(param)) return messageOf(param, chat, body)
  const [from, to] = PLACES.find(([path]) => path.test(param)) ?? []
  return from === undefined ? param : param.replace(from, to!)
}

/** System texts come in front and results of tools stand apart, so a message of the chat has no number that the caller knows. */
function messageOf (param: string, chat: Members, body: Members): string {
  const [, message, part] = MESSAGE.exec(param)!
  const content = (chat['messages'] as Members[])[Number(message)]?.['content']
  const found = part !== undefined && Array.isArray(content) ? content[Number(part)] as Members : {}
  const url = (found['image_url'] as Members | undefined)?.['url'] ?? (found['file'] as Members | undefined)?.['file_data']
  return typeof url === 'string' ? sourceOf(url, body['messages'], 'messages') ?? 'messages' : 'messages'
}

/** Where a block has this source. Blocks stand in messages, and in results within them. */
function sourceOf (url: string, blocks: unknown, path: string): string | null {
  if (!Array.isArray(blocks)) return null
  for (const [index, block] of (blocks as Members[]).entries()) {
    const at = `${path}[${index}]`
    const source = block['source'] as Members | undefined
    if (source?.['url'] === url || (typeof source?.['data'] === 'string' && url === `data:${String(source['media_type'])};base64,${source['data']}`)) return `${at}.source`
    const within = sourceOf(url, block['content'], `${at}.content`)
    if (within !== null) return within
  }
  return null
}
