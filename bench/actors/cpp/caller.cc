// A caller in C++: Ray's own driver. Reads a JSON command a line, answers with a JSON line. As a shared library, it is also
// what Ray's C++ workers load the actor from.
//
// Usage: caller ADDRESS NAMESPACE LIBRARY ACTORS; the actors in C++ of these names are made where they are missing.

#include <ray/api.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

using Bytes = std::vector<char>;
using nlohmann::json;

struct Echo {
  static Echo *Create() { return new Echo(); }
  Bytes echo(Bytes data) { return data; }
};
RAY_REMOTE(Echo::Create, &Echo::echo);

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double cpuSeconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * double(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

// measure calls the actors in turn. call starts a call of the n-th of them.
template <typename Call>
static json measure(const json &command, const Bytes &payload, size_t actors, Call call) {
  const size_t depth = command.at("depth");
  const double cpu = cpuSeconds(), start = seconds(), end = start + double(command.at("seconds"));
  std::vector<double> latencies;
  double last = start;
  while (last < end) {
    if (depth == 1) {
      if (*call(0).Get() != payload) throw std::runtime_error("wrong echo");
    } else {
      // A batch and one get for all of it. The refs are copied, not moved: a moved one lets go of its object before it takes
      // it again, and with it of a result that is about to come.
      std::vector<ray::ObjectRef<Bytes>> refs;
      refs.reserve(depth);
      for (size_t i = 0; i < depth; i++) {
        const auto ref = call(i % actors);
        refs.push_back(ref);
      }
      for (const auto &data : ray::Get(refs)) {
        if (*data != payload) throw std::runtime_error("wrong echo");
      }
    }
    const double now = seconds();
    latencies.push_back(now - last);
    last = now;
  }
  const double used = cpuSeconds() - cpu;
  std::sort(latencies.begin(), latencies.end());
  const auto at = [&](double q) { return latencies[size_t(q * double(latencies.size() - 1))]; };
  return {{"calls", latencies.size() * depth}, {"seconds", last - start}, {"cpu", used}, {"p10", at(0.1)}, {"p50", at(0.5)}, {"p99", at(0.99)}};
}

template <typename Handle, typename Find>
static std::vector<Handle> find(const json &names, std::map<std::string, Handle> &known, Find get) {
  std::vector<Handle> handles;
  for (const std::string name : names) {
    auto found = known.find(name);
    if (found == known.end()) {
      auto handle = get(name);
      if (!handle) throw std::runtime_error("no actor " + name);
      found = known.emplace(name, *handle).first;
    }
    handles.push_back(found->second);
  }
  return handles;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    std::cerr << "usage: caller ADDRESS NAMESPACE LIBRARY ACTORS" << std::endl;
    return 2;
  }
  // Ray prints to standard output, which is for answers.
  const int out = dup(1);
  dup2(2, 1);
  const auto answer = [out](const json &line) {
    const std::string text = line.dump() + "\n";
    if (write(out, text.data(), text.size()) != ssize_t(text.size())) throw std::runtime_error("nobody reads the answers");
  };
  setenv("RAY_BACKEND_LOG_LEVEL", "error", 0);
  ray::RayConfig config;
  config.address = argv[1];
  config.ray_namespace = argv[2];
  config.code_search_path = {argv[3]};
  config.default_actor_lifetime = ray::ActorLifetime::DETACHED;
  ray::Init(config, 0, nullptr);

  std::map<std::string, ray::ActorHandle<Echo>> ours;
  std::map<std::string, ray::ActorHandleXlang> others;
  std::istringstream names(argv[4]);
  for (std::string name; std::getline(names, name, ',');) {
    auto handle = ray::GetActor<Echo>(name);
    ours.emplace(name, handle ? *handle : ray::Actor(Echo::Create).SetName(name).Remote());
    ours.at(name).Task(&Echo::echo).Remote(Bytes{}).Get();
  }
  const bool local = ray::internal::GetRayRuntime()->IsLocalMode();
  answer({{"path", local ? "local mode" : "driver, C++"}, {"settings", "task events on"}});
  for (std::string line; std::getline(std::cin, line);) {
    const json command = json::parse(line);
    const Bytes payload(size_t(command.at("size")), 'x');
    const json &actors = command.at("actors");
    if (ours.count(actors.at(0))) {
      auto handles = find(actors, ours, [](const std::string &name) { return ray::GetActor<Echo>(name); });
      answer(measure(command, payload, handles.size(), [&](size_t i) { return handles[i].Task(&Echo::echo).Remote(payload); }));
    } else {
      auto handles = find(actors, others, [](const std::string &name) { return ray::GetActor(name); });
      const ray::PyActorMethod<Bytes> echo{"echo"};
      answer(measure(command, payload, handles.size(), [&](size_t i) { return handles[i].Task(echo).Remote(payload); }));
    }
  }
  ray::Shutdown();
  return 0;
}
