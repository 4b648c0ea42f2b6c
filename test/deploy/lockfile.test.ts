import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT } from './dockerfile.ts'

interface Entry { version: string, integrity?: string, optional?: boolean, optionalDependencies?: Record<string, string> }

const read = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
const packages: Record<string, Entry> = read(ROOT, 'package-lock.json').packages

/** Where Node finds a package from inside another: nearest node_modules first. */
function found (name: string, from: string): Entry | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    const entry = packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`]
    if (entry !== undefined || at === '') return entry
  }
}

test('the lockfile names the builds for every platform; npm ci refuses it otherwise', async t => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(name => found(name, path) === undefined).map(name => `${path} -> ${name}`))
  t.same(missing, [])
})

/** The folder of the first stage of the Dockerfile, after its script. */
function prepared (folder: string) {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'deploy/binding.ts')], { cwd: folder, encoding: 'utf8' })
  return { status, stderr, manifest: read(folder, 'package.json'), lock: read(folder, 'package-lock.json') }
}

function copies (folder: string): string {
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, name), join(folder, name))
  return folder
}

test('the image gets the CPU build of llama.cpp, at the version and digest of the lockfile', async t => {
  const name = `@node-llama-cpp/linux-${process.arch}`
  const before = packages[`node_modules/${name}`]!
  const { status, manifest, lock } = prepared(copies(t.testdir({})))
  t.equal(status, 0)
  t.equal(manifest.dependencies[name], manifest.dependencies['node-llama-cpp'])
  t.same(lock.packages[''].dependencies, manifest.dependencies, 'npm ci finds both in step')
  const { optional, ...rest } = before
  t.equal(optional, true)
  t.same(lock.packages[`node_modules/${name}`], rest)
})

test('there is such a build for both processors of the image', async t => {
  for (const arch of ['x64', 'arm64']) {
    const entry = packages[`node_modules/@node-llama-cpp/linux-${arch}`]
    t.equal(entry?.version, packages['node_modules/node-llama-cpp']!.version, arch)
    t.match(entry?.integrity, /^sha512-/, arch)
  }
})

test('a build without a digest is not installed', async t => {
  const folder = copies(t.testdir({}))
  const lock = read(folder, 'package-lock.json')
  delete lock.packages[`node_modules/@node-llama-cpp/linux-${process.arch}`].integrity
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(lock))
  const { status, stderr, manifest } = prepared(folder)
  t.equal(status, 1)
  t.match(stderr, 'package-lock.json has no digest of @node-llama-cpp/linux-')
  t.same(manifest, read(ROOT, 'package.json'))
})
