// Names, units and help of the section [sampling].
#include "io/options/job_options.hpp"

namespace athanor {

void describe(OptionTable& table, RejectionSamplingOptions& sampling) {
  ReadabilityOptions& readability = sampling.readability;
  table.section("sampling", "[sampling] what stages of kind rejection_sampling sample and keep; asked as [rl] says");
  table.add("problems", sampling.problems, "problems",
            "of rl.tasks (training side); 0: all of a file. A file that has fewer gives all it has");
  table.add("samples", sampling.samples, "completions", "of each problem", kPositive);
  describe_sampler(table, sampling.sampler, "of the sampling (R1: 1); 0: the likeliest token");
  table.add("max_new_tokens", sampling.max_new_tokens, "tokens", "of a completion, at most; 0: rl.max_new_tokens");
  table.add("problems_per_round", sampling.problems_per_round, "problems",
            "of all ranks, between two moments at which the stage may be stopped; what is kept does not depend on it",
            kPositive);
  table.add("keep_per_problem", sampling.keep_per_problem, "completions",
            "at most, the first ones, so that easy problems do not crowd out hard ones; 0: all that are good");
  table.add("direct", readability.direct, "keep completions without a reasoning, too");
  table.add("code_blocks", readability.code_blocks, "keep reasonings with fenced blocks of code, too");
  table.add("max_completion_tokens", readability.max_tokens, "tokens",
            "of a completion that is kept; 0: as many as are sampled");
  table.add("max_paragraph", readability.max_paragraph, "characters",
            "of a paragraph of the reasoning (about a page); 0: any number");
  table.add("min_language", readability.min_language, "fraction",
            "of the reasoning's words that are in the question's language; 0: any", kFraction);
  table.add("repetition_ngram", readability.repetition_ngram, "words", "whose repetitions are counted", kPositive);
  table.add("max_repetition", readability.max_repetition, "fraction",
            "of n-grams that stood there before, in reasoning or answer; 1: any", kFraction);
  table.add_choice(
      "rewrite", sampling.rewrite_r1, {{"none", false}, {"r1", true}},
      "none: reasoning and answer as the model wrote them; r1: the reasoning tidied, then a summary in the "
      "question's language, by rule");
  table.add("mix", sampling.mix, "FILE @ SHARE",
            "other conversations, so many of the whole (600k : 200k is 0.25), from a .jsonl or "
            "generated:greetings|requests (language=en|zh|both). May be repeated");
  table.add("decontaminate", sampling.decontaminate, "tasks",
            "benchmarks: problems, reasonings and mixed conversations that share an n-gram with them are left out; of "
            "generated tasks their held-out problems, compared whole; empty: none");
  table.add("ngram", sampling.ngram, "words", "of an n-gram in decontamination (R1: 10); characters in Chinese",
            kPositive);
}

}  // namespace athanor
