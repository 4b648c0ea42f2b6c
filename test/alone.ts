/**
 * Loaded into every test process (.taprc): processes that a test starts run as they would without tap. Otherwise tap
 * loads itself into each of them, which a worker that may start no processes and write no files does not survive.
 */
interface SpawnHook { readonly version: number, readonly listeners: unknown[], unwrap (): void }

/** Of process-on-spawn, by which tap gets into them; whoever comes first decides. */
const HOOK = Symbol.for('process-on-spawn@*:singletonId')
const hooks = globalThis as { [HOOK]?: SpawnHook }
hooks[HOOK]?.listeners.splice(0)
hooks[HOOK] ??= { version: 1, listeners: [], unwrap: () => {} }

for (const name of Object.keys(process.env)) {
  if (name.startsWith('_TAPJS_PROCESSINFO_') || name === 'NODE_OPTIONS') delete process.env[name]
}
