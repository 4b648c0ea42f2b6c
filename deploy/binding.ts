/**
 * Run by the Dockerfile before `npm ci --omit=optional`, in a folder with copies of package.json and package-lock.json.
 *
 * node-llama-cpp has its binaries as optional dependencies, and npm can take all that fit the platform (CPU, Vulkan, CUDA: 640 MB) or
 * none. This makes the CPU's a dependency like any other, at the version and digest that the lockfile has. `npm install NAME` would
 * ask the registry for the digest instead.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const name = `@node-llama-cpp/linux-${process.arch}`
const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const entry = lock.packages[`node_modules/${name}`]
if (entry?.integrity === undefined) throw new Error(`package-lock.json has no digest of ${name}; expected one of the processors that node-llama-cpp is built for.`)

manifest.dependencies[name] = entry.version
lock.packages[''].dependencies[name] = entry.version
delete entry.optional

writeFileSync('package.json', JSON.stringify(manifest, null, 2))
writeFileSync('package-lock.json', JSON.stringify(lock, null, 2))
