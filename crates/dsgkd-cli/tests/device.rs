//! `train.device`: what a build without GPUs says, and in a build with one (`.ci/portable vulkan`) a whole training there beside the CPU's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd};

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_this_build_lacks_is_said_before_anything_is_read() {
    let world = World::new();
    let experiment = world.experiment("on-a-gpu", true, "device = \"cuda\"\n");
    for command in ["check", "train"] {
        let failed = dsgkd().arg(command).arg(&experiment).assert().code(2);
        let said = String::from_utf8(failed.get_output().stderr.clone()).unwrap();
        assert!(said.contains("`train.device`: device \"cuda\": this build lacks it"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!world.path("on-a-gpu").exists());
}

#[test]
fn what_a_device_does_not_know_is_refused() {
    let world = World::new();
    for (setting, key) in
        [("dtype = \"bfloat16\"", "train.dtype"), ("gradient_checkpointing = true", "train.gradient_checkpointing")]
    {
        let experiment = world.experiment("refused", false, &format!("device = \"vulkan\"\n{setting}\n"));
        let failed = dsgkd().arg("train").arg(&experiment).assert().code(2);
        let said = String::from_utf8(failed.get_output().stderr.clone()).unwrap();
        assert!(said.contains(key) && said.contains("`train.device` to \"cpu\""), "{said}");
    }
}

#[cfg(feature = "vulkan")]
mod on_vulkan {
    use super::common::{World, bytes, dsgkd};
    use serde_json::Value;

    fn probabilities(world: &World, run: &str) -> Vec<f64> {
        let predictions: Value = serde_json::from_slice(&bytes(&world.path(run).join("predictions.json"))).unwrap();
        predictions["probabilities"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    }

    /// The teachers with the labels, and before them.
    #[test]
    fn a_whole_training_is_that_of_the_cpu() {
        let world = World::new();
        for when in ["with-labels", "before-labels"] {
            for device in ["cpu", "vulkan"] {
                let experiment =
                    world.experiment(&format!("{when}-{device}"), true, &format!("device = \"{device}\"\n"));
                let setting = format!("distill.when={when}");
                dsgkd().arg("train").arg(&experiment).args(["--quiet", "--set", &setting]).assert().success();
            }
            let (cpu, vulkan) =
                (probabilities(&world, &format!("{when}-cpu")), probabilities(&world, &format!("{when}-vulkan")));
            assert!(cpu.len() == vulkan.len() && cpu != vulkan, "two devices round differently");
            assert!(cpu.iter().zip(&vulkan).all(|(cpu, vulkan)| (cpu - vulkan).abs() < 1e-3), "{cpu:?} {vulkan:?}");
            let environment = bytes(&world.path(&format!("{when}-vulkan/environment.json")));
            let environment: Value = serde_json::from_slice(&environment).unwrap();
            assert_eq!(environment["device"], "vulkan");
        }
    }
}
