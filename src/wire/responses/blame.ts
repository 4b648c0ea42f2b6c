/** A fault that was found in the chat which a response became, told of what the caller sent. */
import { GatewayError } from '../../errors.ts'
import type { Members } from '../check.ts'

const IMAGE = /^messages\[(\d+)\]\.content\[(\d+)\]\.image_url/

/**
 * @param chat what the response became
 * @param items as the caller sent them
 * @returns the same error where it is about nothing of the messages
 */
export function blamed (error: unknown, chat: Members, items: readonly Members[]): unknown {
  if (!(error instanceof GatewayError) || error.param === null || !error.param.startsWith('messages')) return error
  const path = pathOf(urlAt(chat, error.param), items)
  const { code, cause, retryAfterS, upstream } = error
  const message = error.param.includes('[') ? error.message.replaceAll(error.param, path) : error.message
  return new GatewayError(code, message, { param: path, cause, retryAfterS, upstream })
}

function urlAt (chat: Members, param: string): unknown {
  const [, message, part] = IMAGE.exec(param) ?? []
  if (message === undefined) return undefined
  const { content } = (chat['messages'] as Members[])[Number(message)] ?? {}
  const found = Array.isArray(content) ? (content as Members[])[Number(part)] : undefined
  return (found?.['image_url'] as Members | undefined)?.['url']
}

/** What stands in an earlier response has no place in the input. */
function pathOf (url: unknown, items: readonly Members[]): string {
  if (typeof url !== 'string') return 'input'
  for (const [index, { content }] of items.entries()) {
    const at = Array.isArray(content) ? (content as Members[]).findIndex(part => part['image_url'] === url) : -1
    if (at !== -1) return `input[${index}].content[${at}].image_url`
  }
  return 'input'
}
