/**
 * Gives up for good what only loading a model needs: files, new connections, processes, native code. What is open stays
 * open: the socket, the pipe to the parent, the mapped model. Only a process that was started with `--permission` has
 * something to give up, and only Node 26.3 and newer can; elsewhere this does nothing.
 */
import { flushCompileCache } from 'node:module'

const SCOPES = ['fs.read', 'net', 'child', 'addon']

export function seal ({ permission, env }: NodeJS.Process): void {
  if (permission?.drop === undefined) return
  const compiled = env['NODE_COMPILE_CACHE']
  if (compiled !== undefined) {
    // Now or never: the next worker starts with what this one has compiled.
    flushCompileCache()
    permission.drop('fs.write', `${compiled}/`)
  }
  for (const scope of SCOPES) permission.drop(scope)
}
