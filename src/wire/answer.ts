/**
 * What a backend gives back. Bytes stay as they arrived; whoever wants to know what is in them parses.
 * A frame of a stream is one or more whole server-sent events that arrived together, so that a stage which only
 * looks on costs nothing per event (docs/decisions/0002-frames.md).
 */
export type Answer = BodyAnswer | StreamAnswer

/** One whole chat completion: the UTF-8 JSON as it came, and what it says, parsed once to see that it is one. */
export interface BodyAnswer {
  readonly kind: 'body'
  readonly bytes: Buffer
  readonly value: unknown
  /** Name of the backend's key that it was asked with, where it has several. */
  readonly key?: string
}

/**
 * Each buffer holds whole events, every one ending in a blank line; the last event of a good stream is `data: [DONE]`.
 * The iterator throws a GatewayError when the backend breaks off; it never ends early without a throw.
 * Leaving the loop, or aborting the call's signal, frees the backend at once.
 */
export interface StreamAnswer {
  readonly kind: 'stream'
  readonly frames: AsyncIterable<Buffer>
  /** The media type of what is no chat and no text completion: then the buffers are bytes as they came, cut anywhere. */
  readonly type?: string
  /** As with a body. */
  readonly key?: string
}
