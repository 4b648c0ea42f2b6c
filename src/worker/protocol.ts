/**
 * What a worker tells the process that spawned it, over the IPC channel. The pool has the same shape in its own folder,
 * since folders of one layer do not import each other; a change is made in both.
 */
export type WorkerMessage = LoadingMessage | ReadyMessage | AliveMessage | FailedMessage

/** `fraction` of the model that is loaded, 0 to 1, never falling. A mapped file reports little in between. */
export interface LoadingMessage { readonly kind: 'loading', readonly fraction: number }

/** The socket accepts requests. */
export interface ReadyMessage {
  readonly kind: 'ready'
  /** Longest prompt plus answer; what was asked for, or what the model was trained for where that is less. */
  readonly contextTokens: number
  readonly slots: number
  /** Memory of the process, and of the GPU where one is used. */
  readonly memoryBytes: number
}

/** Sent every half second from `ready` on, so that a stopped process and a computation without end are found out. */
export interface AliveMessage {
  readonly kind: 'alive'
  /** Steps computed since the load; rises while there is work. */
  readonly steps: number
  readonly isBusy: boolean
}

/** Loading has failed for good; exit code 70 follows. */
export interface FailedMessage { readonly kind: 'failed', readonly message: string }
