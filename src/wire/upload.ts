import type { Readable } from 'node:stream'

/** A form with files, on its way through: read piece by piece, never as a whole. */
export interface Upload {
  /** Nothing that was read once can be sent again. */
  readonly isSpent: boolean
  /** What its fields say, as far as they have come; never quoted to anybody. */
  readonly text: string
  /** The form with this name as its `model`. @throws GatewayError when it is spent */
  open (model: string): Opened
}

export interface Opened {
  /** Throws a GatewayError where what comes is no form, or too much of one. */
  readonly bytes: Readable
  /** `multipart/form-data` with its boundary. */
  readonly type: string
  /** Null while it is still coming. */
  readonly length: number | null
}
