/** The only door to node-llama-cpp (3.22.1): finds its binary and loads it, with as little around it as there is. */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Llama } from 'node-llama-cpp'

export type Gpu = 'auto' | 'cuda' | 'vulkan' | 'metal' | false

export interface BinaryOptions {
  readonly gpu: Gpu
  readonly threads: number
  /** Warnings and errors of the native code, one line each. */
  log (line: string): void
}

/** @throws Error where there is no binary for this host */
export async function openLlama ({ gpu, threads, log }: BinaryOptions): Promise<Llama> {
  const logger = (_level: string, message: string): void => { log(message.trim()) }
  if (gpu === false || (gpu === 'auto' && !hasGpuDevice())) {
    const llama = await openCpuBinary({ maxThreads: threads, logger }, log)
    if (llama !== null) return llama
  }
  const { getLlama, LlamaLogLevel } = await import('node-llama-cpp')
  // Never builds and never downloads: a gateway must not fetch and compile code when a binary is missing.
  return getLlama({ gpu, build: 'never', skipDownload: true, progressLogs: false, maxThreads: threads, logLevel: LlamaLogLevel.warn, logger })
}

/** Device nodes of NVIDIA, AMD and Intel on Linux, and of WSL. Elsewhere nobody can tell by looking. */
function hasGpuDevice (): boolean {
  if (process.platform !== 'linux') return true
  if (['/dev/nvidiactl', '/dev/nvidia0', '/dev/kfd', '/dev/dxg'].some(existsSync)) return true
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some(name => name.startsWith('render'))
}

/**
 * On Linux `getLlama` first loads the binary in a helper process, to survive one that crashes: 0.55 s, half of a
 * worker's start. A worker is such a process itself, so for the CPU, where there is no second binary to fall back to,
 * the binary is loaded at once.
 * @returns null where it cannot be done so; `getLlama` then says why
 */
async function openCpuBinary (options: NativeOptions, log: (line: string) => void): Promise<Llama | null> {
  if (process.platform !== 'linux') return null
  const library = import.meta.resolve('node-llama-cpp')
  const require = createRequire(library)
  const name = `${process.platform}-${process.arch === 'arm' ? 'armv7l' : process.arch}`
  try {
    const folder = new URL(`../bins/${name}/`, `file://${require.resolve(`@node-llama-cpp/${name}`)}`)
    const bindingPath = fileURLToPath(new URL('llama-addon.node', folder))
    const module = await import(new URL('bindings/Llama.js', library).href) as { Llama: LlamaFactory }
    // oxlint-disable-next-line no-underscore-dangle -- the library's own name for it
    return await module.Llama._create({
      ...options,
      bindings: require(bindingPath),
      bindingPath,
      buildType: 'prebuilt',
      buildMetadata: require(fileURLToPath(new URL('_nlcBuildMetadata.json', folder))),
      logLevel: 'warn',
      vramPadding: 0,
      ramPadding: RAM_PADDING_BYTES,
      debug: false,
      numa: false,
      tempDir: false
    })
  } catch (thrown) {
    log(`The CPU binary could not be loaded at once, so node-llama-cpp looks for one: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
    return null
  }
}

interface NativeOptions { readonly maxThreads: number, readonly logger: (level: string, message: string) => void }

/** Internal of node-llama-cpp 3.22.1; `getLlama` calls it in the same way. */
interface LlamaFactory { _create (options: Record<string, unknown>): Promise<Llama> }

/** Memory that is never planned for. `getLlama` takes a quarter of the machine's, and no more than this on Linux. */
const RAM_PADDING_BYTES = 512 * 1024 * 1024
