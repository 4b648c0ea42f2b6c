/** How a configuration names a model that `torchgate models pull` has brought: `path: model:NAME`. */
const PREFIX = 'model:'

export function isPulled (path: string): boolean { return path.startsWith(PREFIX) }
export function pulledName (path: string): string { return path.slice(PREFIX.length) }
