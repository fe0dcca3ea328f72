# The program and what it is made of. The library exists so that tests can use its parts.
add_library(athanor_jobs STATIC
  commands/bench.cpp
  commands/commands.cpp
  commands/evaluate.cpp
  commands/generate.cpp
  commands/inspect.cpp
  commands/prepare.cpp
  commands/run.cpp
  commands/tokenizer.cpp
  environment.cpp
  evaluation.cpp
  generated_text.cpp
  initial_weights.cpp
  loaded_model.cpp
  machine_ceiling.cpp
  recipe.cpp
  run_folder.cpp
  stages/evaluate.cpp
  stages/pretrain.cpp
  stop_signal.cpp
  text_generator.cpp
  trainer.cpp
  training_data.cpp)
target_link_libraries(athanor_jobs PUBLIC athanor_io spdlog::spdlog)
add_executable(athanor athanor.cpp)
target_link_libraries(athanor PRIVATE athanor_jobs)
